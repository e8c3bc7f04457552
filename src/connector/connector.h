/*
 * connector.h
 *		A kind of destination API, compiled from its manifest: how records
 *		become requests, and what an answer says of each record.
 */
#ifndef SIGNALSMITH_CONNECTOR_H
#define SIGNALSMITH_CONNECTOR_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "base/types.h"
#include "http/transport.h"
#include "store/definition.h"

typedef struct Connector Connector;

/* What a sync uses of a connector. */
typedef struct ConnectorUse
{
	const char *object;			/* it writes to; or NULL */
	const char *identifier;		/* field that identifies a record there; or NULL */
} ConnectorUse;

/*
 * Compiles a manifest with a destination's config; lives in CurrentMemoryContext.
 * Raises ERRCODE_INVALID_PARAMETER_VALUE naming the path of the fault.  In a
 * database that is not in UTF-8 this needs a transaction; nothing else here
 * does.  Without a use nothing can be rendered where there are several objects.
 */
extern Connector *connector_compile(const char *connector_name, Jsonb *manifest,
									Jsonb *config, const ConnectorUse *use);

/* The same for a sync. */
extern Connector *connector_of_sync(const SyncDefinition *definition);

/* What a sync in this mode cannot do with this connector: raises, or returns. */
extern void connector_check_mode(const Connector *connector, SyncMode mode);

/*
 * What the object that the sync writes to requires of its mappings: fields that
 * must be there or may not, and the one that identifies a record.  Raises
 * ERRCODE_INVALID_OBJECT_DEFINITION, or returns.
 */
extern void connector_check_mappings(const Connector *connector,
									 const SyncDefinition *definition);

/*
 * A table of this database that is written by SQL.  Such a connector renders no
 * requests and reads no answers: see target/target_table.h.
 */
typedef struct TableSpec
{
	const char *schema;			/* of a name without one */
	const char *name;			/* as the sync has it; NULL: for no sync */
} TableSpec;

/* NULL: the connector sends requests. */
extern const TableSpec *connector_table(const Connector *connector);

/*
 * Where "{{secret.NAME}}" comes from, when a request is rendered: the secret's
 * text in UTF-8, valid until the next call, or NULL when it is not set.
 */
typedef const char *(*SecretReader) (void *arg, const char *name);

extern void connector_set_secrets(Connector *connector, SecretReader secret, void *arg);

/*
 * Lets something that is no secret stand for each, whether it is set or not;
 * or gives it, for one.
 */
extern void connector_set_placeholders(Connector *connector);
extern const char *connector_placeholder(const Connector *connector, const char *name);

/* And lets something stand for an access token. */
extern void connector_set_token_placeholder(Connector *connector);

/*
 * Raises ERRCODE_INVALID_PARAMETER_VALUE when the connector knows no secret of
 * that name, or it cannot have that value.  The value is not part of a message.
 */
extern void connector_check_secret(const Connector *connector, const char *name,
								   const char *value);

/* Names of the secrets without which nothing can be sent, palloc'ed; how many. */
extern int	connector_needed_secrets(const Connector *connector, const char ***names);

/*
 * Raises ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE when a secret is not set
 * without which nothing can be sent.
 */
extern void connector_require_secrets(const Connector *connector,
									  const char *destination_name);

typedef struct ConnectorLimits
{
	int			batch_size;		/* records; 0: the setting's default */
	int			max_bytes;		/* of a batch; 0: any */
	int			max_in_flight;	/* requests; 0: the setting's default */
} ConnectorLimits;

extern ConnectorLimits connector_limits(const Connector *connector, Operation operation);

/* Raises ERRCODE_FEATURE_NOT_SUPPORTED when there is no such operation. */
extern void connector_check_operation(const Connector *connector, Operation operation);
extern bool connector_has_operation(const Connector *connector, Operation operation);

/* Is an update another request than a create? */
extern bool connector_updates_otherwise(const Connector *connector);

/*
 * Whether answers say what the destination calls a record, or which version of
 * it there is: then the snapshot has to keep it.
 */
extern bool connector_captures(const Connector *connector);

/* Can the operation not be done without the record's id, or its version? */
extern bool connector_needs_id(const Connector *connector, Operation operation);
extern bool connector_needs_version(const Connector *connector, Operation operation);

/* When the destination is asked for a record's id and version. */
typedef enum LookupWhen
{
	LOOKUP_NEVER,
	LOOKUP_ON_CONFLICT,			/* when an answer says that it is needed */
	LOOKUP_MISSING,				/* the same, and where they are not known */
	LOOKUP_ALWAYS
} LookupWhen;

extern LookupWhen connector_lookup_when(const Connector *connector);

/* How many records a lookup may ask for. */
extern int	connector_lookup_size(const Connector *connector);

/*
 * Whether a request may be sent again when nobody knows what became of it.
 * Those that may not go over fresh connections, so that libcurl does not repeat
 * them either.
 */
extern bool connector_is_idempotent(const Connector *connector, Operation operation);

/* What the templates can see beside the records. */
typedef struct RunFacts
{
	const char *sync_id;		/* "sync_1" */
	const char *sync_name;		/* in UTF-8 */
	const char *sync_mode;
	const char *run_id;			/* "run_1" */
} RunFacts;

typedef struct BatchRecord
{
	Record		record;
	pg_uuid_t	idempotency_key;
} BatchRecord;

typedef struct Batch
{
	Operation	operation;
	bool		is_lookup;		/* asks for the records instead */
	pg_uuid_t	id;
	int			attempt;		/* from 1 */
	int			record_count;
	BatchRecord *records;
} Batch;

/* What a batch takes of one limit of the destination. */
#define RATE_MAX_LIMITS 8

typedef struct RateDemand
{
	uint64		counter;		/* of the limit, or of the batch's partition of it */
	bool		of_partition;
	int64		cost_us;		/* so long it takes until that has flowed in again */
	int64		credit_us;		/* so much may be taken before it has */
} RateDemand;

/* Fills up to RATE_MAX_LIMITS demands and returns how many. */
extern int	connector_rate_demands(const Connector *connector, const RunFacts *run,
								   const Batch *batch, RateDemand *demands);

/*
 * Milliseconds until the destination takes requests again, where an answer says
 * that it was the last one for now; else 0.
 */
extern int64 connector_exhausted_ms(const Connector *connector, const HttpAnswer *answer);

/*
 * Renders the request of a batch into CurrentMemoryContext.  The same batch
 * gives the same bytes each time; only headers depend on the attempt.  Returns
 * false and sets *error (palloc'ed, for people) when it cannot be represented:
 * a definite rejection of the batch.  timeout_ms is left to the caller.
 */
extern bool connector_render(const Connector *connector, const RunFacts *run,
							 const Batch *batch, HttpRequest *request, char **error);

/*
 * Renders a request that changes nothing at the destination and shows whether it
 * takes our credentials, if there is such a check; else whether it answers, and
 * refuses them.  False and *error as above.
 */
extern bool connector_has_check(const Connector *connector);
extern bool connector_render_check(const Connector *connector, HttpRequest *request,
								   char **error);

/* What became of a record. */
typedef enum OutcomeClass
{
	CLASS_OK,
	CLASS_GONE_OK,				/* delete of what is gone: as good as ok */
	CLASS_REJECTED,				/* refused for good */
	CLASS_REJECT_BATCH,			/* the batch is refused: split it */
	CLASS_TOO_LARGE,			/* halve it */
	CLASS_RETRY,				/* again, later */
	CLASS_THROTTLED,			/* again, when the destination allows */
	CLASS_AUTH,					/* credentials refused */
	CLASS_EXISTS,				/* create of what exists */
	CLASS_CONFLICT,				/* stale version */
	CLASS_FATAL,				/* stop the run */
	CLASS_KEY_REUSED,			/* it says that our key came with other bytes */
	CLASS_UNKNOWN				/* sent; nobody knows */
} OutcomeClass;

extern const char *outcome_class_name(OutcomeClass class);

/*
 * What a complete answer to the check means: ok or not.  *message, for people, is
 * palloc'ed in the server's encoding, and not redacted yet.
 */
extern OutcomeClass connector_check_answer(const Connector *connector,
										   const HttpAnswer *answer, char **message);

/*
 * id and version are what the answer says, JSON in UTF-8, else empty.  A
 * lookup's record that the destination does not have is CLASS_GONE_OK.
 */
typedef struct RecordOutcome
{
	OutcomeClass class;
	Slice		id;
	Slice		version;
	const char *code;			/* the vendor's word, or NULL */
	const char *message;		/* cut to a sane length, or NULL */
	bool		undone;			/* CLASS_RETRY, and certainly not done */
} RecordOutcome;

/*
 * Says what an answer (or its absence) means for each record of the batch:
 * outcomes has batch->record_count elements.  Strings are palloc'ed in
 * CurrentMemoryContext, in the server's encoding, and not redacted yet.
 * *retry_after_ms is the floor that the answer asks for, else 0.
 */
extern void connector_attribute(const Connector *connector, const Batch *batch,
								const HttpAnswer *answer,
								RecordOutcome *outcomes, int64 *retry_after_ms);

#endif							/* SIGNALSMITH_CONNECTOR_H */

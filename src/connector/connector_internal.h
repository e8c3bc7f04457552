/*
 * connector_internal.h
 *		A compiled connector, for the files of this directory alone.
 */
#ifndef SIGNALSMITH_CONNECTOR_INTERNAL_H
#define SIGNALSMITH_CONNECTOR_INTERNAL_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/jsonpath.h"

#include "base/digest.h"
#include "connector/compiler.h"
#include "connector/connector.h"
#include "connector/jsonb_reader.h"
#include "connector/template.h"

/* --- classes (classify.c) --- */

/* An answer that is to be looked at row by row, whatever its status. */
#define CLASS_PARTIAL (CLASS_UNKNOWN + 1)

/* A rule: all conditions that are given must hold. */
typedef struct Rule
{
	int			status_count;	/* 0: any status */
	int		   *status_from;
	int		   *status_to;
	char	   *header;			/* NULL: no such condition */
	char	   *header_value;	/* NULL: any */
	int			operations;		/* bits 1 << Operation; 0: any */
	JsonPath   *predicate;		/* over the body, or the row's result */
	int			class;			/* OutcomeClass or CLASS_PARTIAL */
} Rule;

typedef struct RuleList
{
	int			count;
	Rule	   *rules;
} RuleList;

extern RuleList rules_compile(Compiler *compiler, const char *path,
							  const JsonbValue *json, bool of_row);
extern int	class_from_name(Compiler *compiler, const char *path, const char *name);

/* The class of the first rule that fits, or -1; "json" may be NULL. */
extern int	rules_classify(const RuleList *list, const HttpAnswer *answer,
						   Operation operation, Jsonb *json);

/* --- answers (answer.c, attribute.c) --- */

typedef enum Decoding
{
	DECODE_NONE,				/* the body is not looked at */
	DECODE_JSON,
	DECODE_NDJSON,				/* one JSON text a line: an array of them */
	DECODE_TEXT					/* a JSON string of it */
} Decoding;

typedef enum AttributionMode
{
	ATTRIBUTE_ALL, /* the answer speaks for all rows */
	ATTRIBUTE_POSITIONAL, /* a result for each row, in order */
	ATTRIBUTE_INDEX_LIST, /* results name the row's index */
	ATTRIBUTE_INDEX_MAP, /* leaves of a tree are rows' indexes */
	ATTRIBUTE_CORRELATION, /* results name something we sent */
	ATTRIBUTE_KEY, /* results name the identifier */
	ATTRIBUTE_COUNTS /* only how many failed */
} AttributionMode;

/* What a record's id or version is made of. */
typedef struct CapturePart
{
	const char *name;			/* in an object of several */
	JsonPath   *path;			/* in the answer, or the row's result */
	char	   *header;			/* or this header */
	int			segment;		/* of a path or URL there; 0: all of it */
	bool		is_place;		/* or the result's place among the results */
	int			first_place;	/* of the first one */
} CapturePart;

typedef struct Capture
{
	bool		is_object;
	int			part_count;
	CapturePart *parts;
} Capture;

/* Where results are in an answer, and what they say. */
typedef struct ResultList
{
	int			path_count;
	JsonPath  **paths;			/* each selects results */
	JsonPath   *get;			/* in a result: index, token or key */
	TextTemplate *token;		/* what we sent for the row; or NULL */
	TextTemplate *compare;		/* of both sides, over "body"; or NULL */
	RuleList	rules;			/* the class of a result, first */
	int			class;			/* else this */
	JsonPath   *error;
	JsonPath   *code;
	Capture    *id;				/* or NULL */
	Capture    *version;
} ResultList;

typedef struct RowsSpec
{
	AttributionMode mode;
	bool		of_lookup;
	int			list_count;
	ResultList *lists;
	int			base;			/* the first row's index */
	JsonPath   *failed;			/* how many; or NULL */
	JsonPath   *accepted;
	int			otherwise;		/* class of rows that no result names */
	Capture    *id;				/* ATTRIBUTE_ALL, of one record; or NULL */
	Capture    *version;
} RowsSpec;

typedef struct RespondSpec
{
	Decoding	decoding;
	bool		optional;		/* without results the status speaks for all */
	RowsSpec	rows;
	JsonPath   *error;
	JsonPath   *code;
	Capture    *existing_id;	/* in the answer that it exists; or NULL */
} RespondSpec;

/* Compiles a member that says where an id or version is; NULL: there is none. */
extern Capture *capture_compile(Compiler *compiler, const char *path,
								const JsonbValue *json, const char *name,
								bool whole_answer);

/*
 * JSON in UTF-8, palloc'ed; empty when there is none.  capture may be NULL; place
 * is the result's among the results, from 0, or -1.
 */
extern Slice capture_value(const Capture *capture, Jsonb *json, const HttpAnswer *answer,
						   int place);

/*
 * An answer's body as jsonb, in the server's encoding; NULL when it is not what
 * the decoding wants.  Never raises for what the body holds.
 */
extern Jsonb *answer_decode(Decoding decoding, const char *body, size_t length);

/* Any text from outside, as valid text in the server's encoding; palloc'ed. */
extern char *answer_text(const char *text, size_t length);

/*
 * Whether an error may be taken for a fault of the text, or of a path over it; a
 * cancelled query or a lack of memory may not.
 */
extern bool answer_is_data_error(int sqlerrcode);

/*
 * Why a path must not be asked of an answer, as a sentence; NULL: it may
 * (answer_path.c, as what follows).
 */
extern const char *answer_path_fault(JsonPath *path);

/*
 * Reads an answer, by calling the function with the argument; raises
 * ERRCODE_PROGRAM_LIMIT_EXCEEDED where that takes too much time or memory
 * (answer_limit.c).
 */
extern void answer_within_limit(void (*read) (void *arg), void *arg);

/* What a path selects, as an array; an empty one in case of doubt. */
extern Jsonb *answer_select(Jsonb *document, JsonPath *path);

/* The first thing a path selects; as plain text, NULL when there is none. */
extern bool answer_select_first(Jsonb *document, JsonPath *path, JsonbValue *first);
extern char *answer_select_text(Jsonb *document, JsonPath *path);
extern bool answer_matches(Jsonb *document, JsonPath *predicate);

/* --- requests (request.c, auth.c; rendered by render.c, encode.c) --- */

typedef struct HeaderTemplate
{
	char	   *name;
	TextTemplate *value;
} HeaderTemplate;

typedef struct HeaderList
{
	int			count;
	HeaderTemplate *headers;
} HeaderList;

typedef struct QueryTemplate
{
	TextTemplate *name;
	TextTemplate *value;
	bool		of_each;		/* a value of each record of the batch ... */
	Slice		joint;			/* ... with this in between; empty: the
								 * parameter is repeated */
} QueryTemplate;

typedef struct QueryList
{
	int			count;
	QueryTemplate *parameters;
} QueryList;

typedef enum Encoding
{
	ENCODE_JSON,
	ENCODE_NDJSON,
	ENCODE_FORM,				/* application/x-www-form-urlencoded */
	ENCODE_CSV
} Encoding;

typedef struct CsvColumn
{
	Slice		name;
	TextTemplate *value;
} CsvColumn;

typedef struct CsvSpec
{
	int			column_count;	/* 0: the fields of the first record */
	CsvColumn  *columns;
	bool		without_header;
	char		delimiter;
	Slice		line_end;
	Slice		null;
} CsvSpec;

/* What makes up one kind of request. */
typedef struct RequestSpec
{
	char	   *method;
	TextTemplate *path;
	bool		path_ends_in_slash; /* as written */
	QueryList	query;
	HeaderList	headers;		/* all that are sent, defaults included */
	Encoding	encoding;
	bool		gzip;
	Template   *body;			/* of a request for one record */
	Template   *envelope;		/* of a request for several ... */
	Template   *row;			/* ... and of each record in it */
	int			line_count;		/* ENCODE_NDJSON: lines of each record */
	Template  **lines;
	CsvSpec		csv;
	bool		takes_many;		/* it could carry several records */
	bool		names_record;	/* in its URL */
} RequestSpec;

/* One kind of operation: create, update, upsert, delete, or a lookup. */
typedef struct OperationSpec
{
	const char *name;
	RequestSpec request;
	bool		is_lookup;
	bool		is_batch;		/* carries several records, if there are some */
	bool		idempotent;		/* doing it twice is as good as once */
	bool		uses_id;		/* it cannot be done without */
	bool		uses_version;
	int			max_records;	/* 0: the setting's default */
	int			max_bytes;		/* of a body; 0: any */
	int			max_record_bytes;	/* of a record in it; 0: any */
	RuleList	rules;			/* before the connector's */
	RespondSpec respond;
} OperationSpec;

/* A signature that is made anew for each attempt. */
typedef enum KeyFormat
{
	KEY_TEXT,					/* the secret itself */
	KEY_BASE64,
	KEY_HEX,
	KEY_WHSEC					/* base64 after "whsec_" */
} KeyFormat;

typedef struct SignatureSpec
{
	const char *secret;			/* name */
	bool		optional;		/* unsigned while the secret is not set */
	KeyFormat	format;
	DigestKind	digest;
	bool		as_hex;			/* else base64 */
	TextTemplate *text;			/* what is signed */
	HeaderList	headers;
} SignatureSpec;

typedef struct TokenSpec TokenSpec;

typedef struct BodyMember
{
	Slice		name;			/* JSON string with a colon behind it */
	Template   *value;
} BodyMember;

typedef struct AuthSpec
{
	TextTemplate *user;			/* basic authentication; or NULL */
	TextTemplate *password;
	QueryList	query;
	int			member_count;	/* of JSON and form bodies */
	BodyMember *members;
	SignatureSpec *signature;	/* or NULL */
	TokenSpec  *token;			/* or NULL: see token_internal.h */
} AuthSpec;

/* --- rate (rate.c) --- */

/* So many requests, or rows, in a period. */
typedef struct RateLimit
{
	bool		of_rows;
	int			amount;
	int64		period_us;
	int			burst;			/* so many at once after a pause, from 1 */
	int			operations;		/* bits: 1 << Operation, and one for lookups */
	TextTemplate *by;			/* each of its values has the limit to itself; or NULL */
	uint64		identity;
} RateLimit;

/* Where an answer says how long to wait: in one of these. */
typedef struct WaitSource
{
	JsonPath   *predicate;		/* over the body: it counts if this holds; or NULL */
	char	   *header;
	JsonPath   *body;
	int64		fixed_ms;
	bool		in_ms;			/* the number there, instead of seconds */
} WaitSource;

typedef struct RateSpec
{
	int			max_in_flight;	/* 0: the setting's default */
	int			limit_count;
	RateLimit  *limits;
	int			wait_count;
	WaitSource *waits;
	char	   *remaining;		/* header that counts down to 0; or NULL */
} RateSpec;

/* Milliseconds that an answer asks to wait, else 0; "json" is its body, or NULL. */
extern int64 rate_wait_ms(const RateSpec *rate, const HttpAnswer *answer, Jsonb *json);

/* --- objects (object.c) --- */

typedef struct FieldSpec
{
	const char *name;
	bool		required;		/* of what is created */
} FieldSpec;

/* What the manifest declares of the kind of object that a sync writes. */
typedef struct ObjectSpec
{
	const char *name;			/* NULL: nothing is declared */
	int			field_count;
	FieldSpec  *fields;
	bool		closed;			/* there are no other fields */
	int			identifier_count;	/* 0: the record's key needs no field */
	const char **identifiers;
} ObjectSpec;

struct Connector
{
	const char *name;
	bool		in_config;		/* the manifest is the destination's config */
	bool		needs_object;	/* one of these, and has none */
	int			object_count;
	JsonbMember *objects;		/* as the manifest has them */
	ObjectSpec	object;
	TableSpec  *table;			/* it writes to; or NULL: it sends requests */
	char	   *base_url;		/* without query; NULL: a token's answer has it */
	TextTemplate *token_base_url;
	char	   *base_query;		/* or NULL */
	AuthSpec	auth;
	HeaderList	probe_headers;
	RuleList	rules;
	RateSpec	rate;
	OperationSpec *operations[OPERATION_COUNT]; /* NULL: it cannot do that */
	OperationSpec *lookup;		/* or NULL */
	LookupWhen	lookup_when;
	OperationSpec *check;		/* or NULL: see check.c */

	int			secret_count;	/* that are declared, or referred to */
	SecretSpec *secrets;
	SecretReader secret;
	void	   *secret_arg;
	const struct Token *token;	/* to be sent; or NULL */
	bool		token_placeholder;	/* stands for it */
};

/* Appends the rendered rows of the batch (template.c). */
extern bool append_rows(Evaluation *evaluation, StringInfo out);

/* A secret's value, or NULL with evaluation->error set. */
extern const char *read_secret(Evaluation *evaluation, const char *name);

/*
 * The body of a request in its encoding (encode.c); false, with the error set,
 * when it cannot be had.
 */
extern bool encode_body(const Connector *connector, const OperationSpec *operation,
						Evaluation *evaluation, StringInfo out);

/* The members of a JSON object as fields of a form. */
extern void append_form_members(StringInfo out, Slice json);

/*
 * Appends parameters to a URL, "?" or "&" before the first; *separator is what
 * comes before the next one.
 */
extern bool append_query(const QueryList *query, Evaluation *evaluation, char *separator,
						 StringInfo url);

/* Parts of a request that more than one kind has (render.c). */
extern bool append_base_url(const Connector *connector, Evaluation *evaluation,
							StringInfo url);
extern char *render_url(const Connector *connector, const RequestSpec *request,
						Evaluation *evaluation);
extern bool render_body(const Connector *connector, const OperationSpec *operation,
						Evaluation *evaluation, HttpRequest *request);

/* Appends a text as a header's value; checks it. */
extern bool append_header_value(const HeaderTemplate *header, Evaluation *evaluation,
								HttpHeader *result);

/*
 * What authentication adds to a request: members of a JSON body, parameters of
 * the URL are read from the spec; these are the headers (auth.c).
 */
extern int	auth_header_limit(const AuthSpec *auth);
extern bool auth_append_headers(const Connector *connector, Evaluation *evaluation,
								HttpRequest *request);

/* Adds the header of basic authentication, RFC 7617. */
extern bool append_basic(const TextTemplate *user, const TextTemplate *password,
						 Evaluation *evaluation, HttpRequest *request);

/* What is wrong with a secret's value, for people; NULL: nothing. */
extern const char *auth_secret_fault(const AuthSpec *auth, const char *name,
									 const char *value);
extern const char *token_secret_fault(const TokenSpec *token, const char *name,
									  const char *value);

/* A secret as the bytes of a key; -1 when it is not in its format (key.c). */
extern int	key_decode(KeyFormat format, const char *secret, uint8 **bytes);
extern const char *key_fault(KeyFormat format, const char *value);

/* --- compiling parts (manifest.c, object.c, request.c, auth.c, respond.c) --- */

/* Reads what belongs to the object that the sync is for. */
extern void objects_compile(Compiler *compiler, const JsonbValue *manifest,
							Connector *connector);

/* Whether the connector writes to tables; if so, compiles it (table_spec.c). */
extern bool table_compile(Compiler *compiler, const JsonbValue *manifest,
						  Connector *connector);

/* The objects that there are, for people. */
extern char *object_choices(const Connector *connector);

/* Operations at a path, and a lookup that is a member of another place. */
extern void operations_compile(Compiler *compiler, const char *path,
							   const JsonbValue *json, const char *lookup_path,
							   const JsonbValue *lookup_parent,
							   const JsonbValue *manifest, Connector *connector);

/* User-Agent, Accept, and unless it is NULL Content-Type, to begin with. */
extern List *default_headers(Compiler *compiler, const char *content_type);

/* The headers of an object's member are added to a list of HeaderTemplate. */
extern void read_headers(Compiler *compiler, const char *path, const JsonbValue *object,
						 const char *name, int sees, List **headers);
extern HeaderList header_list(const List *headers);
extern void read_query(Compiler *compiler, const char *path, const JsonbValue *object,
					   QueryList *query);

/* The member "check" of a manifest; NULL: there is none. */
extern OperationSpec *check_compile(Compiler *compiler, const JsonbValue *manifest);

/* The headers that belong to no operation. */
extern HeaderList probe_headers_compile(Compiler *compiler, const JsonbValue *manifest);

extern void request_compile(Compiler *compiler, const char *path, const JsonbValue *json,
							const JsonbValue *manifest, RequestSpec *request);

/* Whether each request has that header. */
extern bool request_has_header(const RequestSpec *request, const char *name);

extern bool request_has_body(const RequestSpec *request, bool is_batch);

/* Raises when something in a request for several is of one of them. */
extern void request_check_batch(Compiler *compiler, const char *path,
								const RequestSpec *request);

extern void auth_compile(Compiler *compiler, const JsonbValue *json, AuthSpec *auth);

/* The member "token" of "auth", NULL if there is none; and whether it is of use. */
extern TokenSpec *token_compile(Compiler *compiler, const JsonbValue *auth);
extern void token_check_use(const Compiler *compiler);
extern bool token_is_below_base_url(const TokenSpec *token);

extern void respond_compile(Compiler *compiler, const char *path,
							const JsonbValue *json, bool is_lookup,
							RespondSpec *respond);

/* Reads "rate", also of the config; the operations are there already. */
extern void rate_compile(Compiler *compiler, const JsonbValue *manifest, Connector *connector);

/* The request that a batch is for. */
static inline const OperationSpec *
batch_operation(const Connector *connector, const Batch *batch)
{
	return batch->is_lookup ? connector->lookup : connector->operations[batch->operation];
}

#endif							/* SIGNALSMITH_CONNECTOR_INTERNAL_H */

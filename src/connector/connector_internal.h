/*
 * connector_internal.h
 *		A compiled connector, for the files of this directory alone.
 */
#ifndef SIGNALSMITH_CONNECTOR_INTERNAL_H
#define SIGNALSMITH_CONNECTOR_INTERNAL_H

#include "postgres.h"

#include "utils/jsonpath.h"

#include "connector/compiler.h"
#include "connector/connector.h"
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

/* Where results are in an answer, and what they say. */
typedef struct ResultList
{
	int			path_count;
	JsonPath  **paths;			/* each selects results */
	JsonPath   *get;			/* in a result: index, token or key */
	RuleList	rules;			/* the class of a result, first */
	int			class;			/* else this */
	JsonPath   *error;
	JsonPath   *code;
} ResultList;

typedef struct RowsSpec
{
	AttributionMode mode;
	int			list_count;
	ResultList *lists;
	TextTemplate *token;		/* what we sent for the row */
	TextTemplate *compare;		/* of both sides, over "value"; or NULL */
	int			base;			/* the first row's index */
	JsonPath   *failed;			/* ATTRIBUTE_COUNTS: one of these two */
	JsonPath   *accepted;
	int			otherwise;		/* class of rows that no result names */
} RowsSpec;

typedef struct RespondSpec
{
	Decoding	decoding;
	bool		optional;		/* without results the status speaks for all */
	RowsSpec	rows;
	JsonPath   *error;
	JsonPath   *code;
} RespondSpec;

/*
 * An answer's body as jsonb, in the server's encoding; NULL when it is not what
 * the decoding wants.  Never raises for what the body holds.
 */
extern Jsonb *answer_decode(Decoding decoding, const char *body, size_t length);

/* Any text from outside, as valid text in the server's encoding; palloc'ed. */
extern char *answer_text(const char *text, size_t length);

/* What a path selects, as an array; an empty one in case of doubt. */
extern Jsonb *answer_select(Jsonb *document, JsonPath *path);

/* The first thing a path selects; as plain text, NULL when there is none. */
extern bool answer_select_first(Jsonb *document, JsonPath *path, JsonbValue *first);
extern char *answer_select_text(Jsonb *document, JsonPath *path);
extern bool answer_matches(Jsonb *document, JsonPath *predicate);

/* --- requests (render.c) --- */

typedef struct HeaderTemplate
{
	char	   *name;
	TextTemplate *value;
} HeaderTemplate;

typedef struct QueryTemplate
{
	TextTemplate *name;
	TextTemplate *value;
} QueryTemplate;

/* One kind of operation: create, update, upsert or delete. */
typedef struct OperationSpec
{
	const char *name;
	char	   *method;
	TextTemplate *path;
	bool		path_ends_in_slash; /* as written */
	int			query_count;
	QueryTemplate *query;
	int			header_count;	/* all that are sent, defaults included */
	HeaderTemplate *headers;
	Template   *body;			/* of a request for one record */
	Template   *envelope;		/* of a request for several ... */
	Template   *row;			/* ... and of each record in it */
	bool		is_batch;		/* envelope and row count, not body */
	bool		names_record;	/* in its URL */
	bool		idempotent;		/* doing it twice is as good as once */
	int			max_records;	/* 0: the setting's default */
	int			max_bytes;		/* of a body; 0: any */
	RuleList	rules;			/* before the connector's */
	RespondSpec respond;
} OperationSpec;

struct Connector
{
	const char *name;
	bool		needs_object;	/* and has none */
	char	   *base_url;		/* without query */
	char	   *base_query;		/* or NULL */
	RuleList	rules;
	int			max_in_flight;	/* 0: the setting's default */
	OperationSpec *operations[OPERATION_COUNT]; /* NULL: it cannot do that */

	SecretReader secret;
	void	   *secret_arg;
};

/* Appends the rendered rows of the batch (template.c). */
extern bool append_rows(Evaluation *evaluation, StringInfo out);

/* --- compiling parts (respond.c) --- */

extern void respond_compile(Compiler *compiler, const char *path,
							const JsonbValue *json, RespondSpec *respond);

#endif							/* SIGNALSMITH_CONNECTOR_INTERNAL_H */

/*
 * template.h
 *		Templates: JSON, or text, with holes such as {{row.email | lower}}.
 *
 * A template is compiled once and evaluated over values, never by substitution
 * in text: whatever a value holds, the result is well-formed JSON, and a JSON
 * string that is exactly one hole keeps the value as it is, number or object,
 * digit for digit.  Holes over the config are filled when it is compiled.
 *
 * All text in templates is UTF-8.
 */
#ifndef SIGNALSMITH_TEMPLATE_H
#define SIGNALSMITH_TEMPLATE_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/types.h"
#include "connector/compiler.h"
#include "connector/connector.h"

typedef enum ValueKind
{
	VALUE_ABSENT,				/* there is no such field */
	VALUE_JSON,					/* JSON text */
	VALUE_TEXT					/* text, to be quoted where JSON is wanted */
} ValueKind;

typedef struct Value
{
	ValueKind	kind;
	Slice		data;
} Value;

/* What holes may refer to, beside config and object. */
#define SEES_REQUEST 0x01		/* op, batch, run, sync, secret */
#define SEES_RECORD 0x02		/* key, row, fields, record */
#define SEES_ROWS 0x04			/* rows: the rendered rows of the batch */
#define SEES_ATTEMPT 0x08		/* attempt: never in what must not change */
#define SEES_BODY 0x10			/* body: the request's, for signatures */
#define SEES_SIGNATURE 0x20		/* signature: what came of that */
#define SEES_TOKEN 0x40			/* token: in what may differ between attempts */
#define SEES_TOKEN_REQUEST 0x80 /* secret, assertion, refresh_token */

/* What authentication adds to a request. */
#define SEES_AUTH (SEES_REQUEST | SEES_TOKEN)

typedef struct Template Template;
typedef struct TextTemplate TextTemplate;

/* What a text template's result is part of: decides what is percent-encoded. */
typedef enum TextForm
{
	TEXT_PLAIN,
	TEXT_PATH,					/* of a URL: slashes are the template's own */
	TEXT_QUERY					/* a name or a value of it */
} TextForm;

/*
 * Compile; raise through compiler_fault().  A text template gives the text
 * itself where its only part is a constant, NULL otherwise.
 */
extern Template *template_compile(Compiler *compiler, const char *path,
								  const JsonbValue *json, int sees);
extern TextTemplate *text_template_compile(Compiler *compiler, const char *path,
										   const char *text, TextForm form, int sees);
extern const char *text_template_constant(const TextTemplate *template);

extern bool text_template_is_empty(const TextTemplate *template);

/* Whether the outcome depends on the record. */
extern bool text_template_uses_record(const TextTemplate *template);

/*
 * What a template made of one hole over the config comes to: a value of any
 * type.  False when the text is no such template.
 */
extern bool template_constant_value(Compiler *compiler, const char *path,
									const char *text, JsonbValue *value);

/* What templates are evaluated over.  Those not visible may be left NULL. */
typedef struct Evaluation
{
	const Connector *connector;
	const RunFacts *run;
	const Batch *batch;
	const BatchRecord *record;
	int			record_index;
	const Template *row;		/* what "rows" has for each record */
	int			max_record_bytes;	/* of a row; 0: any */
	int64		now;			/* of this attempt, in seconds since 1970 */
	Slice		body;
	Slice		signature;
	Slice		assertion;		/* of a request for a token */
	Slice		refresh_token;
	char	   *error;			/* why it failed, for people; palloc'ed */
} Evaluation;

/*
 * Append the result, JSON or plain text.  False when a value cannot be
 * represented: then evaluation->error says why.
 */
extern bool template_append(const Template *template, Evaluation *evaluation,
							StringInfo out);
extern bool text_template_append(const TextTemplate *template,
								 Evaluation *evaluation, StringInfo out);

/*
 * Whether so many more bytes may still go into a request; if not, the error is
 * set.
 */
extern bool request_fits(Evaluation *evaluation, StringInfo out, size_t more);

/* The value of a template that is one hole; otherwise the text. */
extern bool text_template_value(const TextTemplate *template,
								Evaluation *evaluation, Value *value);

/*
 * Percent-encodes all but unreserved characters (RFC 3986), and but those that
 * may stand for themselves here.
 */
extern void append_percent_encoded(StringInfo out, Slice text, const char *others);

#endif							/* SIGNALSMITH_TEMPLATE_H */

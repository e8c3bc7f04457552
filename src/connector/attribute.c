/*
 * attribute.c
 *		What an answer means for each record of its batch.
 *
 * First the answer as a whole gets a class.  If that is ok (or "partial"), the
 * manifest's attribution mode looks for what it says of single rows.  A row
 * that it should have spoken of and did not is unknown: silence is never taken
 * for success.
 */
#include "postgres.h"

#include <time.h>

#include "mb/pg_wchar.h"

#include "base/retry_after.h"
#include "connector/connector_internal.h"
#include "connector/jsonb_reader.h"
#include "http/header.h"

/* Of what is shown of an answer. */
#define MAX_MESSAGE_LENGTH 500

typedef struct Attribution
{
	const Connector *connector;
	const OperationSpec *operation;
	const Batch *batch;
	const HttpAnswer *answer;
	Jsonb	   *json;			/* the decoded body, or NULL */
	RecordOutcome *outcomes;
	bool	   *named;			/* rows that a result has named */
} Attribution;

/* --- messages --- */

/* On one line, and not too long. */
static char *
tidy_message(char *text)
{
	char	   *to = text;
	bool		space = true;

	for (const char *p = text; *p != '\0'; p++)
	{
		bool		is_space = (unsigned char) *p <= ' ';

		if (!is_space)
			*to++ = *p;
		else if (!space)
			*to++ = ' ';
		space = is_space;
	}
	while (to > text && to[-1] == ' ')
		to--;
	*to = '\0';
	if (to - text > MAX_MESSAGE_LENGTH)
	{
		text[pg_mbcliplen(text, to - text, MAX_MESSAGE_LENGTH)] = '\0';
		return psprintf("%s...", text);
	}
	return text;
}

/* Where APIs have their error texts, tried when the manifest does not say. */
static char *
find_error_member(const JsonbValue *value, int depth)
{
	static const char *const names[] = {
		"message", "error_description", "detail", "title", "error", "errors", "reason"
	};
	JsonbValue	member;
	JsonbValue *elements;
	char	   *text;

	if (value->type == jbvString)
		return jsonb_string(value);
	if (depth == 0)
		return NULL;
	if (jsonb_is_array(value))
		return jsonb_elements(value, &elements) > 0 ?
			find_error_member(&elements[0], depth - 1) : NULL;
	if (!jsonb_is_object(value))
		return NULL;
	for (int i = 0; i < (int) lengthof(names); i++)
		if (jsonb_member(value, names[i], &member) &&
			(text = find_error_member(&member, depth - 1)) != NULL)
			return text;
	return NULL;
}

/* {} and [] say nothing. */
static bool
is_empty(const JsonbValue *value)
{
	return value->type == jbvNull ||
		(value->type == jbvBinary && JsonContainerSize(value->val.binary.data) == 0);
}

static bool
is_html(const char *body)
{
	body += strspn(body, " \t\r\n");
	return pg_strncasecmp(body, "<!doctype html", 14) == 0 ||
		pg_strncasecmp(body, "<html", 5) == 0;
}

/* What the answer as a whole says went wrong. */
static char *
answer_message(const Attribution *attribution)
{
	const HttpAnswer *answer = attribution->answer;
	Jsonb	   *json = attribution->json;
	char	   *text = NULL;

	if (json != NULL && attribution->operation->respond.error != NULL)
		text = answer_select_text(json, attribution->operation->respond.error);
	if (text == NULL && answer->body_length > 0)
	{
		/* Errors are often JSON where the good answer is not. */
		if (json == NULL)
			json = answer_decode(DECODE_JSON, answer->body, answer->body_length);
		if (json != NULL)
		{
			JsonbValue	root = jsonb_root(json);

			text = find_error_member(&root, 4);
			if (text == NULL && is_empty(&root))
				return psprintf("HTTP status %d", answer->status);
		}
		else if (is_html(answer->body))
			return psprintf("HTTP status %d with an HTML page", answer->status);
		if (text == NULL)
			text = answer_text(answer->body, Min(answer->body_length, MAX_MESSAGE_LENGTH * 2));
	}
	if (text == NULL || text[strspn(text, " \t\r\n")] == '\0')
		return psprintf("HTTP status %d", answer->status);
	return tidy_message(text);
}

static char *
answer_code(const Attribution *attribution)
{
	char	   *code = NULL;

	if (attribution->json != NULL && attribution->operation->respond.code != NULL)
		code = answer_select_text(attribution->json, attribution->operation->respond.code);
	return code != NULL ? tidy_message(code) :
		psprintf("http_%d", attribution->answer->status);
}

static void
set_all(Attribution *attribution, OutcomeClass class, const char *code, const char *message)
{
	for (int i = 0; i < attribution->batch->record_count; i++)
	{
		attribution->outcomes[i].class = class;
		attribution->outcomes[i].code = class == CLASS_OK ? NULL : code;
		attribution->outcomes[i].message = class == CLASS_OK ? NULL : message;
	}
}

/* --- the answer as a whole --- */

/* By status alone, where no rule of the manifest says otherwise. */
static int
default_class(const Attribution *attribution)
{
	int			status = attribution->answer->status;
	Operation	operation = attribution->batch->operation;
	size_t		length;

	if (status >= 200 && status < 300)
		return CLASS_OK;
	if (status >= 500)
		return status == 503 && header_find(attribution->answer->headers, "Retry-After", &length) ?
			CLASS_THROTTLED : CLASS_RETRY;
	switch (status)
	{
		case 401:
		case 403:
		case 407:
			return CLASS_AUTH;
		case 404:
		case 410:
			/* What is gone is deleted, if the record was asked for. */
			if (operation == OPERATION_DELETE && attribution->operation->names_record)
				return CLASS_GONE_OK;
			return status == 410 ? CLASS_FATAL : CLASS_REJECT_BATCH;
		case 405:
			return CLASS_FATAL;
		case 408:
		case 425:
			return CLASS_RETRY;
		case 409:
			return operation == OPERATION_CREATE && !attribution->operation->idempotent ?
				CLASS_EXISTS : CLASS_RETRY;
		case 413:
			return CLASS_TOO_LARGE;
		case 429:
			return CLASS_THROTTLED;
	}
	/* Redirections are not followed: whoever set this up has to. */
	return status >= 400 ? CLASS_REJECT_BATCH : CLASS_FATAL;
}

static int
classify(const Attribution *attribution)
{
	int			class;

	class = rules_classify(&attribution->operation->rules, attribution->answer,
						   attribution->batch->operation, attribution->json);
	if (class < 0)
		class = rules_classify(&attribution->connector->rules, attribution->answer,
							   attribution->batch->operation, attribution->json);
	return class < 0 ? default_class(attribution) : class;
}

/* A batch of one cannot be split: then the record is what is wrong. */
static OutcomeClass
class_of_batch(int class, int record_count)
{
	if (record_count == 1 && (class == CLASS_REJECT_BATCH || class == CLASS_TOO_LARGE))
		return CLASS_REJECTED;
	return (OutcomeClass) class;
}

/* --- single rows --- */

/* What a result says went wrong; "reason" is what was found on the way to it. */
static const char *
result_message(const ResultList *list, Jsonb *result, const char *reason)
{
	JsonbValue	value;
	char	   *text;

	if (list->error == NULL || !answer_select_first(result, list->error, &value))
	{
		if (reason != NULL)
			return reason;
		value = jsonb_root(result);
	}
	text = find_error_member(&value, 4);
	return tidy_message(text != NULL ? text : jsonb_plain_text(&value));
}

/* Says what a result says of a row; the first result that names it counts. */
static void
set_row(Attribution *attribution, int index, const ResultList *list, Jsonb *result,
		const char *reason)
{
	RecordOutcome *outcome = &attribution->outcomes[index];
	int			class;
	char	   *text;

	if (index < 0 || index >= attribution->batch->record_count || attribution->named[index])
		return;
	class = rules_classify(&list->rules, attribution->answer, attribution->batch->operation,
						   result);
	if (class < 0)
		class = list->class;
	attribution->named[index] = true;
	outcome->class = class_of_batch(class, 1);
	outcome->code = NULL;
	outcome->message = NULL;
	if (outcome->class == CLASS_OK || outcome->class == CLASS_GONE_OK)
		return;
	if (list->code != NULL && (text = answer_select_text(result, list->code)) != NULL)
		outcome->code = tidy_message(text);
	outcome->message = result_message(list, result, reason);
}

static bool
value_index(const JsonbValue *value, int *index)
{
	char	   *text = jsonb_plain_text(value);
	char	   *end;
	long		number;

	errno = 0;
	number = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || number < 0 || number > PG_INT32_MAX)
		return false;
	*index = (int) number;
	return true;
}

/* What each record was sent with, as results would name it. */
static char *
row_token(Attribution *attribution, int index)
{
	const RowsSpec *rows = &attribution->operation->respond.rows;
	Evaluation	evaluation = {
		.connector = attribution->connector,
		.batch = attribution->batch,
		.record = &attribution->batch->records[index],
		.record_index = index
	};
	StringInfoData token;

	initStringInfo(&token);
	if (!text_template_append(rows->token, &evaluation, &token))
		return NULL;
	return answer_text(token.data, token.len);
}

static char *
comparable(const RowsSpec *rows, char *token)
{
	Evaluation	evaluation = {.body = {.data = token,.length = strlen(token)}};
	StringInfoData result;

	if (rows->compare == NULL)
		return token;
	initStringInfo(&result);
	return text_template_append(rows->compare, &evaluation, &result) ? result.data : token;
}

typedef struct Token
{
	char	   *text;
	int			index;
} Token;

static int
compare_tokens(const void *a, const void *b)
{
	return strcmp(((const Token *) a)->text, ((const Token *) b)->text);
}

static Token *
sorted_tokens(Attribution *attribution, int *count)
{
	const RowsSpec *rows = &attribution->operation->respond.rows;
	Token	   *tokens = palloc(attribution->batch->record_count * sizeof(Token));

	*count = 0;
	for (int i = 0; i < attribution->batch->record_count; i++)
	{
		char	   *text = row_token(attribution, i);

		if (text != NULL)
		{
			tokens[*count].text = comparable(rows, text);
			tokens[(*count)++].index = i;
		}
	}
	qsort(tokens, *count, sizeof(Token), compare_tokens);
	return tokens;
}

/* Says what a result says of all rows that have this token. */
static void
set_rows_of_token(Attribution *attribution, const Token *tokens, int count,
				  const JsonbValue *name, const ResultList *list, Jsonb *result)
{
	Token		wanted = {.text = comparable(&attribution->operation->respond.rows,
											 jsonb_plain_text(name))};
	const Token *found = bsearch(&wanted, tokens, count, sizeof(Token), compare_tokens);

	if (found == NULL)
		return;
	while (found > tokens && strcmp(found[-1].text, wanted.text) == 0)
		found--;
	for (; found < tokens + count && strcmp(found->text, wanted.text) == 0; found++)
		set_row(attribution, found->index, list, result, NULL);
}

/* {"time": [3, 4]}: rows 3 and 4, for the reason "time". */
static void
set_index_map(Attribution *attribution, const ResultList *list, Jsonb *result,
			  const JsonbValue *value, const char *reason)
{
	JsonbMember *members;
	JsonbValue *elements;
	int			count;
	int			index;

	if (jsonb_is_object(value))
	{
		count = jsonb_members(value, &members);
		for (int i = 0; i < count; i++)
			set_index_map(attribution, list, result, &members[i].value, members[i].name);
	}
	else if (jsonb_is_array(value))
	{
		count = jsonb_elements(value, &elements);
		for (int i = 0; i < count; i++)
			set_index_map(attribution, list, result, &elements[i], reason);
	}
	else if (value_index(value, &index))
		set_row(attribution, index - attribution->operation->respond.rows.base, list,
				result, reason);
}

/* The results that a list's paths select, in order. */
static int
select_results(Attribution *attribution, const ResultList *list, JsonbValue **results)
{
	int			count = 0;

	*results = NULL;
	for (int i = 0; i < list->path_count; i++)
	{
		JsonbValue	selected = jsonb_root(answer_select(attribution->json, list->paths[i]));
		JsonbValue *elements;
		int			more = jsonb_elements(&selected, &elements);

		if (more == 0)
			continue;
		if (*results == NULL)
			*results = elements;
		else
		{
			*results = repalloc(*results, (count + more) * sizeof(JsonbValue));
			memcpy(*results + count, elements, more * sizeof(JsonbValue));
		}
		count += more;
	}
	return count;
}

/* What names the row (or rows) inside a result. */
static int
select_names(const ResultList *list, Jsonb *result, JsonbValue **names)
{
	JsonbValue	selected;

	if (list->get == NULL)
	{
		*names = palloc(sizeof(JsonbValue));
		**names = jsonb_root(result);
		return 1;
	}
	selected = jsonb_root(answer_select(result, list->get));
	return jsonb_elements(&selected, names);
}

static void
apply_results(Attribution *attribution, const ResultList *list, const JsonbValue *results,
			  int result_count, const Token *tokens, int token_count)
{
	const RowsSpec *rows = &attribution->operation->respond.rows;

	for (int i = 0; i < result_count; i++)
	{
		Jsonb	   *result = JsonbValueToJsonb(unconstify(JsonbValue *, &results[i]));
		JsonbValue *names;
		int			name_count;
		int			index;

		if (rows->mode == ATTRIBUTE_POSITIONAL)
		{
			set_row(attribution, i, list, result, NULL);
			continue;
		}
		name_count = select_names(list, result, &names);
		for (int j = 0; j < name_count; j++)
		{
			if (rows->mode == ATTRIBUTE_INDEX_MAP)
				set_index_map(attribution, list, result, &names[j], NULL);
			else if (rows->mode != ATTRIBUTE_INDEX_LIST)
				set_rows_of_token(attribution, tokens, token_count, &names[j], list, result);
			else if (value_index(&names[j], &index))
				set_row(attribution, index - rows->base, list, result, NULL);
		}
	}
}

/* Returns how many results there were. */
static int
apply_lists(Attribution *attribution)
{
	const RowsSpec *rows = &attribution->operation->respond.rows;
	Token	   *tokens = NULL;
	int			token_count = 0;
	int			total = 0;

	if (rows->mode == ATTRIBUTE_CORRELATION || rows->mode == ATTRIBUTE_KEY)
		tokens = sorted_tokens(attribution, &token_count);
	for (int i = 0; i < rows->list_count; i++)
	{
		JsonbValue *results;
		int			count = select_results(attribution, &rows->lists[i], &results);

		/* As many results as rows, or none of them can be trusted. */
		if (rows->mode == ATTRIBUTE_POSITIONAL && count != attribution->batch->record_count)
		{
			if (count > 0)
				set_all(attribution, CLASS_UNKNOWN, "results_do_not_match",
						psprintf("the answer has %d results for %d rows", count,
								 attribution->batch->record_count));
			total += count;
			continue;
		}
		apply_results(attribution, &rows->lists[i], results, count, tokens, token_count);
		total += count;
	}
	return total;
}

static int64
select_count(Jsonb *json, JsonPath *path)
{
	char	   *text = path != NULL ? answer_select_text(json, path) : NULL;
	char	   *end;
	int64		number;

	if (text == NULL)
		return -1;
	number = strtoi64(text, &end, 10);
	return end > text && *end == '\0' ? number : -1;
}

/* Only how many: all are good, or nobody knows which. */
static void
apply_counts(Attribution *attribution)
{
	const RowsSpec *rows = &attribution->operation->respond.rows;
	int64		failed = select_count(attribution->json, rows->failed);
	int64		accepted = select_count(attribution->json, rows->accepted);

	if ((rows->failed == NULL || failed == 0) &&
		(rows->accepted == NULL || accepted == attribution->batch->record_count))
		set_all(attribution, CLASS_OK, NULL, NULL);
	else
		set_all(attribution, class_of_batch(rows->otherwise, attribution->batch->record_count),
				"some_rows_failed",
				"the destination counts failed rows, but does not say which");
}

static void
apply_rows(Attribution *attribution, int class)
{
	const RespondSpec *respond = &attribution->operation->respond;

	if (respond->rows.mode == ATTRIBUTE_ALL)
	{
		set_all(attribution, class == CLASS_PARTIAL ? CLASS_UNKNOWN : CLASS_OK, NULL, NULL);
		return;
	}
	if (respond->rows.mode == ATTRIBUTE_COUNTS)
	{
		apply_counts(attribution);
		return;
	}
	set_all(attribution, (OutcomeClass) respond->rows.otherwise, "not_named",
			"the answer does not say what became of this row");
	if (apply_lists(attribution) == 0 && respond->optional)
		set_all(attribution, CLASS_OK, NULL, NULL);
}

/* --- */

/* An answer that came, complete or cut by us. */
static void
attribute_answer(Attribution *attribution)
{
	const HttpAnswer *answer = attribution->answer;
	const RespondSpec *respond = &attribution->operation->respond;
	int			record_count = attribution->batch->record_count;
	int			class;

	if (answer->body_length > 0 && !answer->body_cut)
		attribution->json = answer_decode(respond->decoding, answer->body, answer->body_length);
	class = classify(attribution);
	if (class != CLASS_OK && class != CLASS_PARTIAL && class != CLASS_GONE_OK)
	{
		set_all(attribution, class_of_batch(class, record_count),
				answer_code(attribution), answer_message(attribution));
		return;
	}
	if (class == CLASS_GONE_OK)
	{
		set_all(attribution, CLASS_GONE_OK, NULL, NULL);
		return;
	}

	if (attribution->json == NULL && respond->decoding != DECODE_NONE && !respond->optional &&
		(answer->body_length > 0 || respond->rows.mode != ATTRIBUTE_ALL))
	{
		/* Something else answered in the destination's place, or broke. */
		set_all(attribution, answer->body_length > 0 && !answer->body_cut ? CLASS_RETRY : CLASS_UNKNOWN,
				"unexpected_answer",
				answer->body_cut ? "the answer is longer than is read" :
				answer->body_length == 0 ? "the answer is empty" :
				is_html(answer->body) ? "the answer is an HTML page instead of what was expected" :
				"the answer is not what was expected");
		return;
	}
	if (attribution->json == NULL)
		set_all(attribution, CLASS_OK, NULL, NULL);
	else
		apply_rows(attribution, class);
}

/* Under which names, and in which order, waiting times are looked for. */
static int64
find_retry_after(const HttpAnswer *answer)
{
	static const char *const names[] = {
		"Retry-After", "X-RateLimit-Retry-After", "RateLimit-Reset", "X-RateLimit-Reset",
		"X-Rate-Limit-Reset"
	};

	for (int i = 0; i < (int) lengthof(names); i++)
	{
		size_t		length;
		const char *value = header_find(answer->headers, names[i], &length);
		int64		wait_ms;

		if (value == NULL)
			continue;
		wait_ms = retry_after_parse(value, length, (int64) time(NULL));
		if (wait_ms >= 0)
			return wait_ms;
	}
	return 0;
}

void
connector_attribute(const Connector *connector, const Batch *batch, const HttpAnswer *answer,
					RecordOutcome *outcomes, int64 *retry_after_ms)
{
	Attribution attribution = {
		.connector = connector,
		.operation = connector->operations[batch->operation],
		.batch = batch,
		.answer = answer,
		.outcomes = outcomes,
		.named = palloc0(batch->record_count * sizeof(bool))
	};

	*retry_after_ms = 0;
	memset(outcomes, 0, batch->record_count * sizeof(RecordOutcome));
	switch (answer->result)
	{
		case HTTP_NOT_SENT:
			set_all(&attribution, CLASS_RETRY, "not_sent", answer->error);
			return;
		case HTTP_REFUSED:
			set_all(&attribution, CLASS_FATAL, "egress_refused", answer->error);
			return;
		case HTTP_UNKNOWN:
			set_all(&attribution, CLASS_UNKNOWN, "no_answer", answer->error);
			return;
		case HTTP_ANSWERED:
			break;
	}
	attribute_answer(&attribution);
	if (answer->status == 429 || answer->status == 503 ||
		outcomes[0].class == CLASS_THROTTLED)
		*retry_after_ms = find_retry_after(answer);
}

/*
 * attribute_rows.c
 *		What an answer says of each row, in the seven ways that answers do.
 *
 * A row that it should have spoken of and did not is unknown: silence is never
 * taken for success.
 */
#include "postgres.h"

#include "connector/attribution.h"
#include "connector/jsonb_reader.h"

/* A result of a lookup that has neither id nor version is none. */
static void
check_found(RecordOutcome *outcome)
{
	if (outcome->class == CLASS_OK && outcome->id.length == 0 && outcome->version.length == 0)
		outcome->class = CLASS_GONE_OK;
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
	outcome->id = capture_value(list->id, result, attribution->answer, attribution->place);
	outcome->version = capture_value(list->version, result, attribution->answer, attribution->place);
	if (attribution->operation->is_lookup)
		check_found(outcome);
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
row_token(Attribution *attribution, const ResultList *list, int index)
{
	Evaluation	evaluation = {
		.connector = attribution->connector,
		.batch = attribution->batch,
		.record = &attribution->batch->records[index],
		.record_index = index
	};
	StringInfoData token;

	initStringInfo(&token);
	if (!text_template_append(list->token, &evaluation, &token))
		return NULL;
	return answer_text(token.data, token.len);
}

static char *
comparable(const ResultList *list, char *token)
{
	Evaluation	evaluation = {.body = {.data = token,.length = strlen(token)}};
	StringInfoData result;

	if (list->compare == NULL)
		return token;
	initStringInfo(&result);
	return text_template_append(list->compare, &evaluation, &result) ? result.data : token;
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
sorted_tokens(Attribution *attribution, const ResultList *list, int *count)
{
	Token	   *tokens = palloc(attribution->batch->record_count * sizeof(Token));

	*count = 0;
	for (int i = 0; i < attribution->batch->record_count; i++)
	{
		char	   *text = row_token(attribution, list, i);

		if (text != NULL)
		{
			tokens[*count].text = comparable(list, text);
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
	Token		wanted = {.text = comparable(list, jsonb_plain_text(name))};
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
			  int result_count)
{
	const RowsSpec *rows = &attribution->operation->respond.rows;
	Token	   *tokens = NULL;
	int			token_count = 0;

	if (list->token != NULL && result_count > 0)
		tokens = sorted_tokens(attribution, list, &token_count);
	for (int i = 0; i < result_count; i++)
	{
		Jsonb	   *result = JsonbValueToJsonb(unconstify(JsonbValue *, &results[i]));
		JsonbValue *names;
		int			name_count;
		int			index;

		attribution->place = i;
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
	int			total = 0;

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
		apply_results(attribution, &rows->lists[i], results, count);
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

/* An answer that nothing can be made of: what it says, for people. */
static void
set_unrecognized(Attribution *attribution)
{
	set_all(attribution, CLASS_UNKNOWN, "not_named",
			psprintf("the answer does not say what became of this row: %s",
					 answer_message(attribution)));
}

/* Only how many: all are good, or nobody knows which. */
static void
apply_counts(Attribution *attribution)
{
	const RowsSpec *rows = &attribution->operation->respond.rows;
	int64		failed = select_count(attribution->json, rows->failed);
	int64		accepted = select_count(attribution->json, rows->accepted);

	if ((rows->failed != NULL && failed < 0) || (rows->accepted != NULL && accepted < 0))
		set_unrecognized(attribution);
	else if ((rows->failed == NULL || failed == 0) &&
		(rows->accepted == NULL || accepted == attribution->batch->record_count))
		set_all(attribution, CLASS_OK, NULL, NULL);
	else
		set_all(attribution, class_of_batch(rows->otherwise, attribution->batch->record_count),
				"some_rows_failed",
				"the destination counts failed rows, but does not say which");
}

/*
 * More have failed than were named: then nobody knows of those that were not.
 */
static void
check_failed_count(Attribution *attribution)
{
	const RowsSpec *rows = &attribution->operation->respond.rows;
	int			named = 0;

	for (int i = 0; i < attribution->batch->record_count; i++)
		named += attribution->named[i];
	if (select_count(attribution->json, rows->failed) <= named)
		return;
	for (int i = 0; i < attribution->batch->record_count; i++)
		if (!attribution->named[i])
			attribution->outcomes[i] = (RecordOutcome)
			{
				.class = CLASS_UNKNOWN,
				.code = "some_rows_failed",
				.message = "the destination counts more failed rows than it names"
			};
}

/* Of an answer that speaks for one record. */
static void
capture_from_answer(Attribution *attribution, RecordOutcome *outcome)
{
	const RowsSpec *rows = &attribution->operation->respond.rows;

	outcome->id = capture_value(rows->id, attribution->json, attribution->answer, -1);
	outcome->version = capture_value(rows->version, attribution->json, attribution->answer, -1);
	if (attribution->operation->is_lookup)
		check_found(outcome);
}

void
attribute_rows(Attribution *attribution, int class)
{
	const RespondSpec *respond = &attribution->operation->respond;

	if (respond->rows.mode == ATTRIBUTE_ALL)
	{
		set_all(attribution, class == CLASS_PARTIAL ? CLASS_UNKNOWN : CLASS_OK, NULL, NULL);
		if (attribution->batch->record_count == 1)
			capture_from_answer(attribution, &attribution->outcomes[0]);
		return;
	}
	if (respond->rows.mode == ATTRIBUTE_COUNTS)
	{
		apply_counts(attribution);
		return;
	}
	set_all(attribution, (OutcomeClass) respond->rows.otherwise, "not_named",
			"the answer does not say what became of this row");
	if (apply_lists(attribution) == 0)
	{
		if (respond->optional)
			set_all(attribution, CLASS_OK, NULL, NULL);
		else if (respond->rows.otherwise == CLASS_UNKNOWN)
			set_unrecognized(attribution);
	}
	if (respond->rows.failed != NULL)
		check_failed_count(attribution);
}

/*
 * classify.c
 *		What an answer as a whole is: rules of the manifest, then defaults by
 *		status.
 *
 * Statuses lie: one API throttles with 400, another reports errors with 200.
 * So the manifest's rules come first, and may look at headers and body too.
 */
#include "postgres.h"

#include "base/types.h"
#include "connector/connector_internal.h"
#include "connector/jsonb_reader.h"
#include "http/header.h"

static const char *const class_names[] = {
	[CLASS_OK] = "ok",
	[CLASS_GONE_OK] = "gone_ok",
	[CLASS_REJECTED] = "rejected",
	[CLASS_REJECT_BATCH] = "reject_batch",
	[CLASS_TOO_LARGE] = "too_large",
	[CLASS_RETRY] = "retry",
	[CLASS_THROTTLED] = "throttled",
	[CLASS_AUTH] = "auth",
	[CLASS_EXISTS] = "exists",
	[CLASS_CONFLICT] = "conflict",
	[CLASS_FATAL] = "fatal",
	[CLASS_KEY_REUSED] = "key_reused",
	[CLASS_UNKNOWN] = "unknown",
	[CLASS_PARTIAL] = "partial"
};

const char *
outcome_class_name(OutcomeClass class)
{
	return class_names[class];
}

/* A lookup finds a record, or finds it absent: gone, to a delete. */
int
class_from_name(Compiler *compiler, const char *path, const char *name)
{
	if (strcmp(name, "absent") == 0)
		return CLASS_GONE_OK;
	for (int i = 0; i < (int) lengthof(class_names); i++)
		if (strcmp(name, class_names[i]) == 0)
			return i;
	compiler_fault(compiler, path,
				   choice_hint(name, class_names, lengthof(class_names)),
				   "There is no class \"%s\".", name);
}

/* --- compiling --- */

/* "429", "4xx" or "500-599". */
static void
read_status(Compiler *compiler, const char *path, const JsonbValue *json,
			int *from, int *to)
{
	char	   *text = jsonb_plain_text(json);
	int			length = 0;

	if (sscanf(text, "%3d-%3d%n", from, to, &length) == 2 && text[length] == '\0')
		return;
	if (sscanf(text, "%3d%n", from, &length) == 1 && text[length] == '\0')
	{
		*to = *from;
		return;
	}
	if (text[0] >= '1' && text[0] <= '5' && strcmp(text + 1, "xx") == 0)
	{
		*from = (text[0] - '0') * 100;
		*to = *from + 99;
		return;
	}
	compiler_fault(compiler, path, NULL,
				   "A status is a number such as 429, a range such as \"500-599\", or \"4xx\".");
}

static void
read_statuses(Compiler *compiler, const char *path, const JsonbValue *json, Rule *rule)
{
	JsonbValue *elements = unconstify(JsonbValue *, json);
	int			count = 1;

	if (jsonb_is_array(json))
		count = jsonb_elements(json, &elements);
	rule->status_count = count;
	rule->status_from = palloc(count * sizeof(int));
	rule->status_to = palloc(count * sizeof(int));
	for (int i = 0; i < count; i++)
		read_status(compiler, path, &elements[i], &rule->status_from[i],
					&rule->status_to[i]);
}

static void
read_header_condition(Compiler *compiler, const char *path, const JsonbValue *json, Rule *rule)
{
	JsonbMember *members;

	if (!jsonb_is_object(json) || jsonb_members(json, &members) != 1 ||
		(members[0].value.type != jbvString && members[0].value.type != jbvBool))
		compiler_fault(compiler, path, NULL,
					   "It must be an object of one header's name, with its value or true.");
	rule->header = members[0].name;
	if (members[0].value.type == jbvString)
		rule->header_value = jsonb_string(&members[0].value);
}

static void
read_operation_condition(Compiler *compiler, const char *path, const char *name, Rule *rule)
{
	static const char *const names[] = {"create", "update", "delete", "upsert"};

	if (strcmp(name, "upsert") == 0)
		rule->operations = (1 << OPERATION_CREATE) | (1 << OPERATION_UPDATE);
	else
		for (int i = 0; i < OPERATION_COUNT; i++)
			if (strcmp(name, operation_name((Operation) i)) == 0)
				rule->operations = 1 << i;
	if (rule->operations == 0)
		compiler_fault(compiler, path, choice_hint(name, names, lengthof(names)),
					   "There is no operation \"%s\".", name);
}

static void
compile_rule(Compiler *compiler, const char *path, const JsonbValue *json, bool of_row,
			 Rule *rule)
{
	static const char *const keys[] = {"if", "is", "op", "status", "header"};
	JsonbValue	member;
	char	   *text;

	check_keys(compiler, path, json, keys, of_row ? 3 : lengthof(keys));
	if (jsonb_member(json, "status", &member))
		read_statuses(compiler, path_member(path, "status"), &member, rule);
	if (jsonb_member(json, "header", &member))
		read_header_condition(compiler, path_member(path, "header"), &member, rule);
	if ((text = read_string(compiler, path, json, "op", false)) != NULL)
		read_operation_condition(compiler, path_member(path, "op"), text, rule);
	if ((text = read_string(compiler, path, json, "if", false)) != NULL)
		rule->predicate = compile_jsonpath(compiler, path_member(path, "if"), text);
	rule->class = class_from_name(compiler, path_member(path, "is"),
								  read_string(compiler, path, json, "is", true));
}

RuleList
rules_compile(Compiler *compiler, const char *path, const JsonbValue *json, bool of_row)
{
	RuleList	list = {0};
	JsonbValue *elements;

	if (!jsonb_is_array(json))
		compiler_fault(compiler, path, NULL, "It must be a list of rules, not %s.",
					   jsonb_type_phrase(json));
	list.count = jsonb_elements(json, &elements);
	list.rules = palloc0(list.count * sizeof(Rule));
	for (int i = 0; i < list.count; i++)
		compile_rule(compiler, path_element(path, i), &elements[i], of_row, &list.rules[i]);
	return list;
}

/* --- applying --- */

static bool
status_fits(const Rule *rule, int status)
{
	for (int i = 0; i < rule->status_count; i++)
		if (status >= rule->status_from[i] && status <= rule->status_to[i])
			return true;
	return rule->status_count == 0;
}

static bool
header_fits(const Rule *rule, const HttpAnswer *answer)
{
	const char *value;
	size_t		length;

	if (rule->header == NULL)
		return true;
	value = header_find(answer->headers, rule->header, &length);
	if (value == NULL)
		return false;
	return rule->header_value == NULL ||
		(strlen(rule->header_value) == length &&
		 pg_strncasecmp(value, rule->header_value, length) == 0);
}

int
rules_classify(const RuleList *list, const HttpAnswer *answer, Operation operation,
			   Jsonb *json)
{
	for (int i = 0; i < list->count; i++)
	{
		const Rule *rule = &list->rules[i];

		if (status_fits(rule, answer->status) &&
			header_fits(rule, answer) &&
			(rule->operations == 0 || (rule->operations & (1 << operation))) &&
			(rule->predicate == NULL || (json != NULL && answer_matches(json, rule->predicate))))
			return rule->class;
	}
	return -1;
}

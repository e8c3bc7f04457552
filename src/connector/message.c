/*
 * message.c
 *		What an answer says went wrong, for people.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "connector/attribution.h"
#include "connector/jsonb_reader.h"

/* Of what is shown of an answer. */
#define MAX_MESSAGE_LENGTH 500

char *
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

bool
is_html(const char *body)
{
	body += strspn(body, " \t\r\n");
	return pg_strncasecmp(body, "<!doctype html", 14) == 0 ||
		pg_strncasecmp(body, "<html", 5) == 0;
}

char *
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

char *
answer_code(const Attribution *attribution)
{
	char	   *code = NULL;

	if (attribution->json != NULL && attribution->operation->respond.code != NULL)
		code = answer_select_text(attribution->json, attribution->operation->respond.code);
	return code != NULL ? tidy_message(code) :
		psprintf("http_%d", attribution->answer->status);
}

const char *
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

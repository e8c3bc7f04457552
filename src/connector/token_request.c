/*
 * token_request.c
 *		Asking for an access token, and reading the answer.
 *
 * What an answer says is read as jsonb and kept as text; a token that could not be
 * sent in a header is none.
 */
#include "postgres.h"

#include <time.h>

#include "mb/pg_wchar.h"

#include "base/json_text.h"
#include "connector/attribution.h"
#include "connector/expression.h"
#include "connector/jsonb_reader.h"
#include "connector/token_internal.h"
#include "http/header.h"

/* Ten years: longer is for ever. */
#define MAX_LIFETIME (INT64CONST(10) * 365 * 86400)

/* The connector's own ways to ask for patience are those of its API. */
static const RateSpec usual_rate;

static const RunFacts no_run = {"sync_0", "token", "upsert", "run_0"};
static const Batch no_batch = {.operation = OPERATION_CREATE,.attempt = 1};

bool
connector_uses_token(const Connector *connector)
{
	return connector->auth.token != NULL;
}

bool
connector_makes_token(const Connector *connector)
{
	return connector->auth.token != NULL && connector->auth.token->url == NULL;
}

void
connector_set_token(Connector *connector, const Token *token)
{
	connector->token = token;
}

const char *
connector_refresh_secret(const Connector *connector)
{
	return connector->auth.token != NULL ? connector->auth.token->refresh_secret : NULL;
}

/* --- the request --- */

static Evaluation
token_evaluation(const Connector *connector)
{
	Evaluation	evaluation = {
		.connector = connector,
		.run = &no_run,
		.batch = &no_batch,
		.now = (int64) time(NULL)
	};

	return evaluation;
}

/* What {{assertion}} and {{refresh_token}} stand for. */
static bool
prove(const TokenSpec *token, const char *refresh_token, Evaluation *evaluation)
{
	StringInfoData assertion;

	if (refresh_token == NULL && token->refresh_secret != NULL &&
		(refresh_token = read_secret(evaluation, token->refresh_secret)) == NULL)
		return false;
	if (refresh_token != NULL)
		evaluation->refresh_token = (Slice) {pstrdup(refresh_token), strlen(refresh_token)};
	if (token->jwt == NULL)
		return true;
	initStringInfo(&assertion);
	if (!jwt_make(token->jwt, evaluation, &assertion))
		return false;
	evaluation->assertion = (Slice) {assertion.data, assertion.len};
	return true;
}

static bool
render_token_headers(const TokenSpec *token, Evaluation *evaluation, HttpRequest *request)
{
	request->headers = palloc((token->headers.count + 1) * sizeof(HttpHeader));
	for (int i = 0; i < token->headers.count; i++)
		if (!append_header_value(&token->headers.headers[i], evaluation,
								 &request->headers[request->header_count++]))
			return false;
	return token->user == NULL ||
		append_basic(token->user, token->password, evaluation, request);
}

static bool
render_token_body(const TokenSpec *token, Evaluation *evaluation, HttpRequest *request)
{
	StringInfoData json;
	StringInfoData form;

	initStringInfo(&json);
	if (!template_append(token->body, evaluation, &json))
		return false;
	request->body = json.data;
	request->body_length = json.len;
	if (!token->as_form)
		return true;
	initStringInfo(&form);
	append_form_members(&form, (Slice) {json.data, json.len});
	explicit_bzero(json.data, json.len);
	request->body = form.data;
	request->body_length = form.len;
	return true;
}

bool
connector_render_token_request(const Connector *connector, const char *refresh_token,
							   HttpRequest *request, char **error)
{
	const TokenSpec *token = connector->auth.token;
	Evaluation	evaluation = token_evaluation(connector);

	memset(request, 0, sizeof(HttpRequest));
	request->method = token->method;
	request->url = token->url[0] != '/' ? token->url :
		psprintf("%s%s", connector->base_url, token->url);
	request->fresh_connection = true;
	if (prove(token, refresh_token, &evaluation) &&
		render_token_headers(token, &evaluation, request) &&
		render_token_body(token, &evaluation, request))
		return true;
	*error = evaluation.error;
	return false;
}

Token *
connector_make_token(const Connector *connector, int64 *lifetime, char **error)
{
	const TokenSpec *spec = connector->auth.token;
	Evaluation	evaluation = token_evaluation(connector);
	StringInfoData value;
	Token	   *token;

	initStringInfo(&value);
	if (!jwt_make(spec->jwt, &evaluation, &value))
	{
		*error = evaluation.error;
		return NULL;
	}
	token = palloc0(sizeof(Token));
	token->value = value.data;
	token->captured = palloc0(spec->capture_count * sizeof(char *));
	*lifetime = spec->jwt->lifetime > 0 ? spec->jwt->lifetime : spec->ttl;
	return token;
}

/* --- the answer --- */

/* A text that is printable ASCII, as tokens are (RFC 6749, appendix A); or NULL. */
static char *
select_token(Jsonb *json, JsonPath *path)
{
	char	   *text = json != NULL ? answer_select_text(json, path) : NULL;

	if (text == NULL || text[0] == '\0')
		return NULL;
	for (const char *p = text; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			return NULL;
	return text;
}

static int64
select_lifetime(const TokenSpec *token, Jsonb *json)
{
	char	   *text = answer_select_text(json, token->expires_in);
	double		seconds = text != NULL ? strtod(text, NULL) : 0;

	if (!(seconds >= 1))
		return token->ttl;
	return seconds < MAX_LIFETIME ? (int64) seconds : MAX_LIFETIME;
}

static Token *
read_token(const TokenSpec *spec, Jsonb *json)
{
	char	   *value = select_token(json, spec->token);
	Token	   *token;

	if (value == NULL)
		return NULL;
	token = palloc0(sizeof(Token));
	token->value = value;
	token->captured = palloc0(spec->capture_count * sizeof(char *));
	for (int i = 0; i < spec->capture_count; i++)
		token->captured[i] = select_token(json, spec->capture_paths[i]);
	return token;
}

/* What a token cannot be used for want of, for people; NULL: nothing. */
static char *
token_fault(const Connector *connector, const Token *token)
{
	const TokenSpec *spec = connector->auth.token;
	Connector	with_token = *connector;
	Evaluation	evaluation = token_evaluation(&with_token);
	StringInfoData url;

	for (int i = 0; i < spec->capture_count; i++)
		if (token->captured[i] == NULL)
			return psprintf("the answer has nothing for {{token.%s}}", spec->capture_names[i]);
	with_token.token = token;
	initStringInfo(&url);
	return append_base_url(&with_token, &evaluation, &url) ? NULL : evaluation.error;
}

/* "invalid_grant: expired token", as far as the answer says. */
static char *
describe_refusal(const TokenSpec *token, const HttpAnswer *http, Jsonb *json)
{
	char	   *code = json != NULL ? answer_select_text(json, token->code) : NULL;
	char	   *error = json != NULL ? answer_select_text(json, token->error) : NULL;

	if (code != NULL && error != NULL)
		return tidy_message(psprintf("%s: %s", code, error));
	if (code != NULL || error != NULL)
		return tidy_message(psprintf("%s", code != NULL ? code : error));
	return psprintf("HTTP status %d", http->status);
}

/* What is refused is a grant (RFC 6749, section 5.2), or anything that was sent. */
static char *
secrets_hint(const Connector *connector, Jsonb *json)
{
	const TokenSpec *token = connector->auth.token;
	char	   *code = json != NULL ? answer_select_text(json, token->code) : NULL;
	const char *grant = token->refresh_secret != NULL ? token->refresh_secret :
		token->jwt != NULL ? token->jwt->secret : NULL;
	StringInfoData hint;

	if (grant != NULL && code != NULL && strcmp(code, "invalid_grant") == 0)
		return psprintf("Set the secret \"%s\" with signalsmith.set_secret.", grant);
	initStringInfo(&hint);
	for (int i = 0; i < connector->secret_count; i++)
		if (connector->secrets[i].of_token)
			appendStringInfo(&hint, "%s\"%s\"", hint.len > 0 ? " or " : "Set the secret ",
							 connector->secrets[i].name);
	if (hint.len == 0)
		return NULL;
	appendStringInfoString(&hint, " with signalsmith.set_secret.");
	return hint.data;
}

static TokenVerdict
verdict_of_class(int class)
{
	switch (class)
	{
		case CLASS_OK:
		case CLASS_PARTIAL:
			return TOKEN_GRANTED;
		case CLASS_THROTTLED:
			return TOKEN_THROTTLED;
		case CLASS_RETRY:
		case CLASS_UNKNOWN:
			return TOKEN_NOT_NOW;
		default:
			return TOKEN_REFUSED;
	}
}

static TokenVerdict
judge(const TokenSpec *token, const HttpAnswer *http, Jsonb *json)
{
	int			class = rules_classify(&token->rules, http, OPERATION_CREATE, json);

	if (class >= 0)
		return verdict_of_class(class);
	if (http->status >= 200 && http->status < 300)
		return TOKEN_GRANTED;
	if (http->status == 429)
		return TOKEN_THROTTLED;
	return http->status >= 500 || http->status == 408 || http->status == 425 ?
		TOKEN_NOT_NOW : TOKEN_REFUSED;
}

/*
 * An answer that should hold a token.  Some say no with status 200; what else has
 * none may be over next time.
 */
static void
read_granted(const Connector *connector, const HttpAnswer *http, Jsonb *json,
			 TokenAnswer *answer)
{
	const TokenSpec *spec = connector->auth.token;

	answer->token = read_token(spec, json);
	if (answer->token == NULL && json != NULL && answer_select_text(json, spec->code) != NULL)
	{
		answer->verdict = TOKEN_REFUSED;
		answer->error = describe_refusal(spec, http, json);
		answer->hint = secrets_hint(connector, json);
	}
	else if (answer->token == NULL)
	{
		answer->verdict = TOKEN_NOT_NOW;
		answer->error = psprintf("the answer, with HTTP status %d, holds no token",
								 http->status);
	}
	else
	{
		answer->lifetime = select_lifetime(spec, json);
		answer->margin = spec->margin;
		answer->refresh_token = select_token(json, spec->refresh_token);
		answer->error = token_fault(connector, answer->token);
		if (answer->error != NULL)
			answer->verdict = TOKEN_REFUSED;
	}
}

typedef struct TokenWork
{
	const Connector *connector;
	const HttpAnswer *http;
	TokenAnswer *answer;
} TokenWork;

static void
read_answer(void *arg)
{
	const TokenWork *work = arg;
	const Connector *connector = work->connector;
	const HttpAnswer *http = work->http;
	TokenAnswer *answer = work->answer;
	const TokenSpec *spec = connector->auth.token;
	Jsonb	   *json = NULL;

	memset(answer, 0, sizeof(TokenAnswer));
	if (!http->body_cut && http->body_length > 0)
		json = answer_decode(DECODE_JSON, http->body, http->body_length);
	answer->verdict = judge(spec, http, json);
	answer->retry_after_ms = rate_wait_ms(&usual_rate, http, json);
	if (answer->verdict == TOKEN_GRANTED)
		read_granted(connector, http, json, answer);
	else
	{
		answer->error = describe_refusal(spec, http, json);
		if (answer->verdict == TOKEN_REFUSED)
			answer->hint = secrets_hint(connector, json);
	}
}

void
connector_read_token_answer(const Connector *connector, const HttpAnswer *http,
							TokenAnswer *answer)
{
	TokenWork	work = {connector, http, answer};

	answer_within_limit(read_answer, &work);
}

/* --- as text, to be kept --- */

static void
append_member(StringInfo out, const char *name, const char *text)
{
	appendStringInfoChar(out, out->len > 0 ? ',' : '{');
	(void) json_text_append_utf8(out, name, strlen(name));
	appendStringInfoChar(out, ':');
	(void) json_text_append_utf8(out, text, strlen(text));
}

char *
connector_token_to_text(const Connector *connector, const Token *token)
{
	const TokenSpec *spec = connector->auth.token;
	StringInfoData text;

	initStringInfo(&text);
	append_member(&text, "", token->value);
	for (int i = 0; i < spec->capture_count; i++)
		if (token->captured[i] != NULL)
			append_member(&text, spec->capture_names[i], token->captured[i]);
	appendStringInfoChar(&text, '}');
	return text.data;
}

static char *
member_text(const char *text, const char *name)
{
	Value		value = {.kind = VALUE_JSON};
	Slice		slice;

	if (!json_text_member((Slice) {text, strlen(text)}, (Slice) {name, strlen(name)},
						  &value.data) ||
		!value_text(&value, &slice))
		return NULL;
	return pnstrdup(slice.data, slice.length);
}

Token *
connector_token_from_text(const Connector *connector, const char *text)
{
	const TokenSpec *spec = connector->auth.token;
	Token	   *token = palloc0(sizeof(Token));

	token->value = member_text(text, "");
	if (token->value == NULL)
		return NULL;
	token->captured = palloc0(spec->capture_count * sizeof(char *));
	for (int i = 0; i < spec->capture_count; i++)
		token->captured[i] = member_text(text, spec->capture_names[i]);
	return token_fault(connector, token) == NULL ? token : NULL;
}

/*
 * token.c
 *		Compiles the "token" block: what is asked, and sent, for an access token.
 *
 * One block serves OAuth 2.0 in all its grants that need no browser (RFC 6749,
 * RFC 7523) and whatever else gives a token for a request.  Where it has several
 * "grants", the config chooses one; what the grants have in common stands beside
 * them.
 */
#include "postgres.h"

#include "base/rsa.h"
#include "connector/jsonb_reader.h"
#include "connector/manifest_value.h"
#include "connector/token_internal.h"
#include "http/url.h"

#define DEFAULT_MARGIN 60
#define MAX_SECONDS (10 * 365 * 86400)

/* What a grant adds to the body by itself. */
static const struct
{
	const char *name;
	const char *grant_type;
}			grants[] =
{
	{"client_credentials", "client_credentials"},
	{"jwt_bearer", "urn:ietf:params:oauth:grant-type:jwt-bearer"},
	{"none", NULL},
	{"password", "password"},
	{"refresh_token", "refresh_token"}
};

static const char *const grant_names[] = {
	"client_credentials", "jwt_bearer", "none", "password", "refresh_token"
};

typedef enum Grant
{
	GRANT_CLIENT_CREDENTIALS,
	GRANT_JWT_BEARER,
	GRANT_NONE,
	GRANT_PASSWORD,
	GRANT_REFRESH_TOKEN
} Grant;

/* A block: what the grant says for itself, and what is said for all grants. */
typedef struct Block
{
	Compiler   *compiler;
	Grant		grant;
	const JsonbValue *own;
	const char *own_path;
	const JsonbValue *common;	/* NULL: there are no several grants */
	const char *common_path;
} Block;

/* The object that has a member, if any has; the grant's own comes first. */
static const JsonbValue *
holder(const Block *block, const char *name, const char **path)
{
	JsonbValue	value;

	if (block->common == NULL || jsonb_member(block->own, name, &value))
	{
		*path = block->own_path;
		return block->own;
	}
	*path = block->common_path;
	return block->common;
}

/* --- the request --- */

static void
read_url(const Block *block, TokenSpec *token)
{
	const char *path;
	const JsonbValue *object = holder(block, "url", &path);
	const char *fault;

	token->url = read_constant(block->compiler, path, object, "url", false);
	if (token->url == NULL)
	{
		if (block->grant != GRANT_NONE || token->jwt == NULL)
			compiler_fault(block->compiler, path_member(path, "url"), NULL,
						   "It is required, but where a \"jwt\" is itself the token.");
		return;
	}
	fault = token->url[0] == '/' ? NULL : url_fault(token->url);
	if (fault != NULL)
		compiler_fault(block->compiler, path_member(path, "url"),
					   "It may also be a path below base_url, beginning with a slash.",
					   "%s", fault);
}

static void
read_method(const Block *block, TokenSpec *token)
{
	static const char *const methods[] = {"POST", "PUT"};
	const char *path;
	const JsonbValue *object = holder(block, "method", &path);

	token->method = unconstify(char *,
							   methods[read_choice(block->compiler, path, object, "method",
												   methods, lengthof(methods), 0)]);
}

static void
push_member(JsonbParseState **state, const char *name, const JsonbValue *value)
{
	JsonbValue	key;
	JsonbValue	copy = *value;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &key);
	pushJsonbValue(state, WJB_VALUE, &copy);
}

static void
push_text(JsonbParseState **state, const char *name, const char *text)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, text);
	value.val.string.len = strlen(text);
	push_member(state, name, &value);
}

/* Encoded, as RFC 6749, section 2.3.1, has it for basic authentication. */
static TextTemplate *
client_template(const Block *block, const char *path, const char *text)
{
	return text_template_compile(block->compiler, path, text, TEXT_QUERY, SEES_TOKEN_REQUEST);
}

/*
 * "client": who we are, in the body or by basic authentication; null in a grant
 * that does without.
 */
static void
read_client(const Block *block, TokenSpec *token, JsonbParseState **body)
{
	static const char *const keys[] = {"id", "secret", "send"};
	static const char *const ways[] = {"basic", "body"};
	const char *path;
	const JsonbValue *object = holder(block, "client", &path);
	JsonbValue	client;
	char	   *id;
	char	   *secret;

	if (!jsonb_member(object, "client", &client) || client.type == jbvNull)
		return;
	path = path_member(path, "client");
	check_keys(block->compiler, path, &client, keys, lengthof(keys));
	id = read_string(block->compiler, path, &client, "id", true);
	secret = read_string(block->compiler, path, &client, "secret", false);
	if (secret != NULL && strstr(secret, "{{") == NULL)
		compiler_fault(block->compiler, path_member(path, "secret"),
					   "Write \"{{secret.client_secret}}\", and use signalsmith.set_secret.",
					   "What is written here is no secret.");
	if (read_choice(block->compiler, path, &client, "send", ways, lengthof(ways), 1) == 0)
	{
		token->user = client_template(block, path_member(path, "id"), id);
		token->password = client_template(block, path_member(path, "secret"),
										  secret ? secret : "");
		return;
	}
	push_text(body, "client_id", id);
	if (secret != NULL)
		push_text(body, "client_secret", secret);
}

/* The grant's members, then the client's, then those that the manifest spells out. */
static void
read_body(const Block *block, TokenSpec *token)
{
	const char *path;
	const JsonbValue *object = holder(block, "body", &path);
	JsonbParseState *state = NULL;
	JsonbValue	given;
	JsonbValue	body;
	JsonbMember *members;

	path = path_member(path, "body");
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (grants[block->grant].grant_type != NULL)
		push_text(&state, "grant_type", grants[block->grant].grant_type);
	if (block->grant == GRANT_JWT_BEARER)
		push_text(&state, "assertion", "{{assertion}}");
	if (block->grant == GRANT_REFRESH_TOKEN)
		push_text(&state, "refresh_token", "{{refresh_token}}");
	read_client(block, token, &state);
	if (jsonb_member(object, "body", &given))
	{
		if (!jsonb_is_object(&given))
			compiler_fault(block->compiler, path, NULL, "It must be an object, not %s.",
						   jsonb_type_phrase(&given));
		for (int i = 0, count = jsonb_members(&given, &members); i < count; i++)
			push_member(&state, members[i].name, &members[i].value);
	}
	body = jsonb_root(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
	token->body = template_compile(block->compiler, path, &body,
								   SEES_TOKEN_REQUEST | SEES_ATTEMPT);
}

static void
read_request(const Block *block, TokenSpec *token)
{
	static const char *const encodings[] = {"form", "json"};
	const char *path;
	const JsonbValue *object = holder(block, "encode", &path);
	List	   *headers;

	token->as_form = read_choice(block->compiler, path, object, "encode", encodings,
								 lengthof(encodings), 0) == 0;
	headers = default_headers(block->compiler, token->as_form ?
							  "application/x-www-form-urlencoded" : "application/json");
	object = holder(block, "headers", &path);
	read_headers(block->compiler, path, object, "headers",
				 SEES_TOKEN_REQUEST | SEES_ATTEMPT, &headers);
	token->headers = header_list(headers);
	read_method(block, token);
	read_body(block, token);
}

/* What proves our right to a token, beside the client's secret. */
static void
read_proof(const Block *block, TokenSpec *token)
{
	const char *path;
	const JsonbValue *object = holder(block, "jwt", &path);
	JsonbValue	jwt;

	if (jsonb_member(object, "jwt", &jwt))
		token->jwt = jwt_compile(block->compiler, path_member(path, "jwt"), &jwt);
	else if (block->grant == GRANT_JWT_BEARER)
		compiler_fault(block->compiler, path_member(path, "jwt"), NULL,
					   "Grant \"jwt_bearer\" needs it.");

	object = holder(block, "refresh_token", &path);
	token->refresh_secret = read_string(block->compiler, path, object, "refresh_token", false);
	if (token->refresh_secret == NULL && block->grant == GRANT_REFRESH_TOKEN)
		token->refresh_secret = "refresh_token";
	if (token->refresh_secret != NULL)
		compiler_use_secret(block->compiler, path_member(path, "refresh_token"),
							token->refresh_secret, !block->compiler->of_other_object);
}

/* --- the answer --- */

static JsonPath *
read_path(Compiler *compiler, const char *path, const JsonbValue *json, const char *name,
		  const char *otherwise)
{
	char	   *text = json != NULL ? read_string(compiler, path, json, name, false) : NULL;

	return compile_jsonpath(compiler, path_member(path, name), text ? text : otherwise);
}

static void
read_respond(const Block *block, TokenSpec *token)
{
	static const char *const keys[] = {"token", "expires_in", "refresh_token", "error", "code"};
	Compiler   *compiler = block->compiler;
	const char *path;
	const JsonbValue *object = holder(block, "respond", &path);
	JsonbValue	value;
	const JsonbValue *respond = jsonb_member(object, "respond", &value) ? &value : NULL;

	path = path_member(path, "respond");
	if (respond != NULL)
		check_keys(compiler, path, respond, keys, lengthof(keys));
	token->token = read_path(compiler, path, respond, "token", "$.access_token");
	token->expires_in = read_path(compiler, path, respond, "expires_in", "$.expires_in");
	token->refresh_token = read_path(compiler, path, respond, "refresh_token", "$.refresh_token");
	token->error = read_path(compiler, path, respond, "error", "$.error_description");
	token->code = read_path(compiler, path, respond, "code", "$.error");
}

static void
read_capture(const Block *block, TokenSpec *token)
{
	Compiler   *compiler = block->compiler;
	const char *path;
	const JsonbValue *object = holder(block, "capture", &path);
	JsonbValue	capture;
	JsonbMember *members;

	if (!jsonb_member(object, "capture", &capture))
		return;
	path = path_member(path, "capture");
	if (!jsonb_is_object(&capture))
		compiler_fault(compiler, path, NULL, "It must be an object of names and paths.");
	token->capture_count = jsonb_members(&capture, &members);
	token->capture_names = palloc(token->capture_count * sizeof(char *));
	token->capture_paths = palloc(token->capture_count * sizeof(JsonPath *));
	for (int i = 0; i < token->capture_count; i++)
	{
		token->capture_names[i] = compiler_utf8(compiler, path, members[i].name);
		token->capture_paths[i] = compile_jsonpath(compiler, path_member(path, members[i].name),
												   read_string(compiler, path, &capture,
															   members[i].name, true));
	}
}

static void
read_times(const Block *block, TokenSpec *token)
{
	const char *path;
	const JsonbValue *object = holder(block, "ttl", &path);

	token->ttl = read_integer(block->compiler, path, object, "ttl", MAX_SECONDS);
	object = holder(block, "margin", &path);
	token->margin = read_integer(block->compiler, path, object, "margin", MAX_SECONDS);
	if (token->margin == 0)
		token->margin = DEFAULT_MARGIN;
}

/* "requires": what of the config a grant needs, though others do without. */
static void
check_required(const Block *block)
{
	Compiler   *compiler = block->compiler;
	const char *path = path_member(block->own_path, "requires");
	JsonbValue	config;
	JsonbValue	names;
	JsonbValue	value;
	JsonbValue *elements;
	int			count;

	if (!jsonb_member(block->own, "requires", &names))
		return;
	if (!jsonb_is_array(&names) || compiler->config == NULL)
		compiler_fault(compiler, path, NULL, "It must be a list of names in the config.");
	config = jsonb_root(compiler->config);
	count = jsonb_elements(&names, &elements);
	for (int i = 0; i < count && !compiler->of_other_object; i++)
	{
		char	   *name = jsonb_plain_text(&elements[i]);

		if (!jsonb_member(&config, name, &value))
			config_fault(compiler, name, NULL, "Grant \"%s\" requires it.",
						 grant_names[block->grant]);
	}
}

static TokenSpec *
read_token(const Block *block)
{
	TokenSpec  *token = palloc0(sizeof(TokenSpec));
	const char *path;
	const JsonbValue *object = holder(block, "classify", &path);
	JsonbValue	rules;

	check_required(block);
	read_proof(block, token);
	read_url(block, token);
	read_request(block, token);
	read_respond(block, token);
	read_capture(block, token);
	read_times(block, token);
	if (jsonb_member(object, "classify", &rules))
		token->rules = rules_compile(block->compiler, path_member(path, "classify"),
									 &rules, false);
	return token;
}

/* --- the whole --- */

static const char *const block_keys[] = {
	"grant", "requires", "url", "method", "headers", "encode", "client", "body", "jwt", "refresh_token",
	"classify", "respond", "capture", "ttl", "margin", "grants"
};

/* Keys of a grant among several: all but the first and the last. */
#define GRANT_KEYS (block_keys + 1)
#define GRANT_KEY_COUNT ((int) lengthof(block_keys) - 2)

static int
grant_number(Compiler *compiler, const char *path, const char *name)
{
	for (int i = 0; i < (int) lengthof(grant_names); i++)
		if (strcmp(name, grant_names[i]) == 0)
			return i;
	compiler_fault(compiler, path, choice_hint(name, grant_names, lengthof(grant_names)),
				   "\"%s\" is not valid here.", name);
}

/* Checks them all; the result is the one that is chosen. */
static TokenSpec *
read_grants(Compiler *compiler, const JsonbValue *json, const JsonbValue *several,
			const char *chosen)
{
	TokenSpec  *result = NULL;
	JsonbMember *members;
	int			count = jsonb_members(several, &members);
	const char **names = palloc(count * sizeof(char *));

	for (int i = 0; i < count; i++)
	{
		const char *path = path_member("auth.token.grants", members[i].name);
		bool		is_chosen = strcmp(members[i].name, chosen) == 0;
		Compiler	of_grant = *compiler;
		Block		block = {
			.compiler = &of_grant,
			.grant = grant_number(compiler, path, members[i].name),
			.own = &members[i].value,
			.own_path = path,
			.common = json,
			.common_path = "auth.token"
		};
		TokenSpec  *token;

		names[i] = members[i].name;
		check_keys(compiler, path, &members[i].value, GRANT_KEYS, GRANT_KEY_COUNT);
		if (!is_chosen)
			of_grant.tentative = of_grant.of_other_object = true;
		token = read_token(&block);
		if (is_chosen)
			result = token;
	}
	if (result == NULL)
		compiler_fault(compiler, "auth.token.grant", choice_hint(chosen, names, count),
					   "There is no \"%s\" among the grants.", chosen);
	return result;
}

/* Makes {{token}} known to the templates to come. */
static void
announce(Compiler *compiler, const TokenSpec *token)
{
	compiler->token = palloc0(sizeof(TokenNames));
	compiler->token->count = token->capture_count;
	compiler->token->names = token->capture_names;
}

TokenSpec *
token_compile(Compiler *compiler, const JsonbValue *auth)
{
	Compiler	of_token = *compiler;
	JsonbValue	json;
	JsonbValue	several;
	TokenSpec  *token;
	char	   *grant;

	if (!jsonb_member(auth, "token", &json))
		return NULL;
	of_token.of_token = true;
	check_keys(&of_token, "auth.token", &json, block_keys, lengthof(block_keys));
	if (jsonb_member(&json, "grants", &several))
	{
		if (!jsonb_is_object(&several))
			compiler_fault(compiler, "auth.token.grants", NULL, "It must be an object, not %s.",
						   jsonb_type_phrase(&several));
		grant = read_constant(&of_token, "auth.token", &json, "grant", true);
		token = read_grants(&of_token, &json, &several, grant);
	}
	else
	{
		Block		block = {
			.compiler = &of_token,
			.grant = GRANT_NONE,
			.own = &json,
			.own_path = "auth.token"
		};

		grant = read_constant(&of_token, "auth.token", &json, "grant", false);
		if (grant != NULL)
			block.grant = grant_number(compiler, "auth.token.grant", grant);
		token = read_token(&block);
	}
	announce(compiler, token);
	return token;
}

void
token_check_use(const Compiler *compiler)
{
	if (compiler->token != NULL && !compiler->token->used)
		compiler_fault(compiler, "auth.token",
					   "Such as \"header\": {\"Authorization\": \"Bearer {{token}}\"} beside it.",
					   "Nothing that is sent has {{token}} in it.");
}

bool
token_is_below_base_url(const TokenSpec *token)
{
	return token->url != NULL && token->url[0] == '/';
}

/* What is wrong with a secret that signs the request for the token. */
const char *
token_secret_fault(const TokenSpec *token, const char *name, const char *value)
{
	const JwtSpec *jwt = token->jwt;

	if (jwt == NULL || strcmp(jwt->secret, name) != 0)
		return NULL;
	if (!jwt->rs256)
		return key_fault(jwt->format, value);
	return rsa_is_private_key(value) ? NULL :
		"It must be a private RSA key in PEM, of 2048 bits or more and without a passphrase.";
}

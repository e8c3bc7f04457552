/*
 * auth.c
 *		The "auth" block: what a destination asks for to know who we are.
 *
 * Headers and parameters of the URL are templates like any other and rendered
 * with the request.  Here is the rest: basic authentication, members of the
 * body, and signatures, which are made for each attempt, over the body as it is
 * sent.  The request for an access token is in token.c.
 */
#include "postgres.h"

#include "common/base64.h"

#include "base/compat.h"
#include "base/json_text.h"
#include "connector/connector_internal.h"
#include "connector/jsonb_reader.h"
#include "http/header.h"

/* --- compiling --- */

static void
read_basic(Compiler *compiler, const JsonbValue *json, AuthSpec *auth)
{
	static const char *const keys[] = {"user", "password"};
	JsonbValue	basic;
	char	   *user;
	char	   *password;

	if (!jsonb_member(json, "basic", &basic))
		return;
	check_keys(compiler, "auth.basic", &basic, keys, lengthof(keys));
	user = read_string(compiler, "auth.basic", &basic, "user", false);
	password = read_string(compiler, "auth.basic", &basic, "password", false);
	auth->user = text_template_compile(compiler, "auth.basic.user", user ? user : "",
									   TEXT_PLAIN, SEES_AUTH);
	auth->password = text_template_compile(compiler, "auth.basic.password",
										   password ? password : "",
										   TEXT_PLAIN, SEES_AUTH);
}

static void
read_body_members(Compiler *compiler, const JsonbValue *json, AuthSpec *auth)
{
	JsonbValue	body;
	JsonbMember *members;

	if (!jsonb_member(json, "body", &body))
		return;
	if (!jsonb_is_object(&body))
		compiler_fault(compiler, "auth.body", NULL, "It must be an object, not %s.",
					   jsonb_type_phrase(&body));
	auth->member_count = jsonb_members(&body, &members);
	auth->members = palloc(auth->member_count * sizeof(BodyMember));
	for (int i = 0; i < auth->member_count; i++)
	{
		const char *path = path_member("auth.body", members[i].name);
		const char *name = compiler_utf8(compiler, path, members[i].name);
		StringInfoData prefix;

		initStringInfo(&prefix);
		(void) json_text_append_utf8(&prefix, name, strlen(name));
		appendStringInfoChar(&prefix, ':');
		auth->members[i].name.data = prefix.data;
		auth->members[i].name.length = prefix.len;
		auth->members[i].value = template_compile(compiler, path, &members[i].value,
												  SEES_AUTH);
	}
}

static void
read_signature(Compiler *compiler, const JsonbValue *json, AuthSpec *auth)
{
	static const char *const keys[] = {
		"secret", "optional", "key", "digest", "output", "sign", "headers"
	};
	static const char *const formats[] = {"text", "base64", "hex", "whsec"};
	static const char *const digests[] = {"md5", "sha1", "sha256", "sha512"};
	static const char *const outputs[] = {"base64", "hex"};
	const char *path = "auth.hmac";
	SignatureSpec *signature;
	JsonbValue	hmac;
	List	   *headers = NIL;
	int			sees = SEES_AUTH | SEES_ATTEMPT;

	if (!jsonb_member(json, "hmac", &hmac))
		return;
	check_keys(compiler, path, &hmac, keys, lengthof(keys));
	signature = palloc0(sizeof(SignatureSpec));
	signature->optional = read_bool(compiler, path, &hmac, "optional", false);
	signature->secret = read_string(compiler, path, &hmac, "secret", true);
	compiler_use_secret(compiler, path_member(path, "secret"), signature->secret,
						!signature->optional);
	signature->format = read_choice(compiler, path, &hmac, "key", formats,
									lengthof(formats), KEY_TEXT);
	signature->digest = read_choice(compiler, path, &hmac, "digest", digests,
									lengthof(digests), DIGEST_SHA256);
	signature->as_hex = read_choice(compiler, path, &hmac, "output", outputs,
									lengthof(outputs), 1) == 1;
	signature->text = text_template_compile(compiler, path_member(path, "sign"),
											read_string(compiler, path, &hmac, "sign", true),
											TEXT_PLAIN, sees | SEES_BODY);
	read_headers(compiler, path, &hmac, "headers", sees | SEES_SIGNATURE, &headers);
	if (headers == NIL)
		compiler_fault(compiler, path_member(path, "headers"), NULL,
					   "A signature needs a header that holds \"{{signature}}\".");
	signature->headers = header_list(headers);
	auth->signature = signature;
}

void
auth_compile(Compiler *compiler, const JsonbValue *json, AuthSpec *auth)
{
	static const char *const keys[] = {"header", "basic", "query", "body", "hmac", "token"};

	/* "header" is read with the headers of each request. */
	check_keys(compiler, "auth", json, keys, lengthof(keys));
	auth->token = token_compile(compiler, json);
	read_basic(compiler, json, auth);
	read_query(compiler, "auth", json, &auth->query);
	for (int i = 0; i < auth->query.count; i++)
		if (auth->query.parameters[i].of_each ||
			text_template_uses_record(auth->query.parameters[i].value))
			compiler_fault(compiler, "auth.query", NULL,
						   "Authentication cannot depend on a record.");
	read_body_members(compiler, json, auth);
	read_signature(compiler, json, auth);
}

/* --- secrets that are keys --- */

const char *
auth_secret_fault(const AuthSpec *auth, const char *name, const char *value)
{
	const SignatureSpec *signature = auth->signature;

	if (signature != NULL && strcmp(signature->secret, name) == 0)
		return key_fault(signature->format, value);
	if (auth->token != NULL)
		return token_secret_fault(auth->token, name, value);
	return NULL;
}

/* --- rendering --- */

bool
append_basic(const TextTemplate *user, const TextTemplate *password, Evaluation *evaluation,
			 HttpRequest *request)
{
	StringInfoData pair;
	StringInfoData value;
	int			size;

	initStringInfo(&pair);
	if (!text_template_append(user, evaluation, &pair))
		return false;
	appendStringInfoChar(&pair, ':');
	if (!text_template_append(password, evaluation, &pair))
		return false;

	initStringInfo(&value);
	appendStringInfoString(&value, "Basic ");
	size = pg_b64_enc_len(pair.len) + 1;
	enlargeStringInfo(&value, size);
	value.len += pg_b64_encode((const Base64Byte *) pair.data, pair.len, value.data + value.len, size);
	value.data[value.len] = '\0';
	request->headers[request->header_count].name = "Authorization";
	request->headers[request->header_count++].value = value.data;
	return true;
}

static Slice
write_digest(const uint8 *digest, size_t length, bool as_hex)
{
	StringInfoData text;
	Slice		result;

	initStringInfo(&text);
	if (as_hex)
		for (size_t i = 0; i < length; i++)
			appendStringInfo(&text, "%02x", digest[i]);
	else
	{
		int			size = pg_b64_enc_len(length) + 1;

		enlargeStringInfo(&text, size);
		text.len = pg_b64_encode((const Base64Byte *) digest, length, text.data, size);
	}
	result.data = text.data;
	result.length = text.len;
	return result;
}

static bool
sign(const SignatureSpec *signature, const char *secret, Evaluation *evaluation)
{
	StringInfoData text;
	uint8		digest[DIGEST_MAX_LENGTH];
	size_t		length;
	uint8	   *key;
	int			key_length = key_decode(signature->format, secret, &key);

	if (key_length < 0)
	{
		evaluation->error = psprintf("the secret \"%s\" is not in the format of a key",
									 signature->secret);
		return false;
	}
	initStringInfo(&text);
	if (!text_template_append(signature->text, evaluation, &text))
		return false;
	length = digest_hmac(signature->digest, key, key_length, text.data, text.len, digest);
	explicit_bzero(key, key_length);
	if (length == 0)
	{
		evaluation->error = pstrdup("the signature could not be computed");
		return false;
	}
	evaluation->signature = write_digest(digest, length, signature->as_hex);
	pfree(text.data);
	return true;
}

static bool
append_signature(const Connector *connector, Evaluation *evaluation, HttpRequest *request)
{
	const SignatureSpec *signature = connector->auth.signature;
	const char *secret = read_secret(evaluation, signature->secret);

	if (secret == NULL)
		return signature->optional;
	evaluation->body.data = request->body != NULL ? request->body : "";
	evaluation->body.length = request->body_length;
	if (!sign(signature, secret, evaluation))
		return false;
	for (int i = 0; i < signature->headers.count; i++)
		if (!append_header_value(&signature->headers.headers[i], evaluation,
								 &request->headers[request->header_count++]))
			return false;
	return true;
}

int
auth_header_limit(const AuthSpec *auth)
{
	return 1 + (auth->signature != NULL ? auth->signature->headers.count : 0);
}

bool
auth_append_headers(const Connector *connector, Evaluation *evaluation, HttpRequest *request)
{
	if (connector->auth.user != NULL &&
		!append_basic(connector->auth.user, connector->auth.password, evaluation, request))
		return false;
	return connector->auth.signature == NULL ||
		append_signature(connector, evaluation, request);
}

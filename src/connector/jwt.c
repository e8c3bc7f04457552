/*
 * jwt.c
 *		JSON Web Tokens, signed with a secret of the destination: RFC 7515, 7519.
 */
#include "postgres.h"

#include "common/base64.h"

#include "base/compat.h"
#include "base/digest.h"
#include "base/json_text.h"
#include "base/rsa.h"
#include "connector/jsonb_reader.h"
#include "connector/manifest_value.h"
#include "connector/token_internal.h"

/* A day: those who take them want them short. */
#define MAX_LIFETIME 86400

/* --- compiling --- */

static Template *
read_object(Compiler *compiler, const char *path, const JsonbValue *json, const char *name,
			bool required)
{
	JsonbValue	value;

	if (!jsonb_member(json, name, &value))
	{
		if (required)
			compiler_fault(compiler, path_member(path, name), NULL, "It is required.");
		return NULL;
	}
	path = path_member(path, name);
	if (!jsonb_is_object(&value))
		compiler_fault(compiler, path, NULL, "It must be an object, not %s.",
					   jsonb_type_phrase(&value));
	return template_compile(compiler, path, &value, SEES_TOKEN_REQUEST | SEES_ATTEMPT);
}

JwtSpec *
jwt_compile(Compiler *compiler, const char *path, const JsonbValue *json)
{
	static const char *const keys[] = {
		"algorithm", "secret", "key", "header", "claims", "lifetime"
	};
	static const char *const algorithms[] = {"HS256", "RS256"};
	static const char *const formats[] = {"text", "base64", "hex"};
	JwtSpec    *jwt = palloc0(sizeof(JwtSpec));
	JsonbValue	format;

	check_keys(compiler, path, json, keys, lengthof(keys));
	jwt->rs256 = read_choice(compiler, path, json, "algorithm", algorithms,
							 lengthof(algorithms), 1) == 1;
	jwt->secret = read_string(compiler, path, json, "secret", true);
	compiler_use_secret(compiler, path_member(path, "secret"), jwt->secret,
						!compiler->of_other_object);
	if (jwt->rs256 && jsonb_member(json, "key", &format))
		compiler_fault(compiler, path_member(path, "key"), NULL,
					   "A key of RS256 is in PEM and has no other format.");
	jwt->format = read_choice(compiler, path, json, "key", formats, lengthof(formats),
							  KEY_TEXT);
	jwt->header = read_object(compiler, path, json, "header", false);
	jwt->claims = read_object(compiler, path, json, "claims", true);
	jwt->lifetime = read_integer(compiler, path, json, "lifetime", MAX_LIFETIME);
	return jwt;
}

/* --- making one --- */

/* RFC 7515, appendix C: base64 for URLs, without padding. */
static void
append_base64url(StringInfo out, const char *data, size_t length)
{
	int			size = pg_b64_enc_len(length) + 1;
	int			start = out->len;

	enlargeStringInfo(out, size);
	out->len += pg_b64_encode((const Base64Byte *) data, length, out->data + start, size);
	while (out->len > start && out->data[out->len - 1] == '=')
		out->len--;
	out->data[out->len] = '\0';
	for (char *p = out->data + start; *p != '\0'; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
}

/* An object of the template's members, after those that we give. */
static bool
append_object(StringInfo out, const char *members, const Template *template,
			  Evaluation *evaluation)
{
	StringInfoData object;
	StringInfoData json;

	initStringInfo(&object);
	if (template == NULL)
		appendStringInfoString(&object, "{}");
	else if (!template_append(template, evaluation, &object))
		return false;
	initStringInfo(&json);
	appendStringInfo(&json, "{%s%s%s", members,
					 members[0] != '\0' && object.data[1] != '}' ? "," : "",
					 object.data + 1);
	append_base64url(out, json.data, json.len);
	return true;
}

static bool
append_signature(const JwtSpec *jwt, const char *secret, StringInfo out)
{
	StringInfoData signature;
	uint8		digest[DIGEST_MAX_LENGTH];
	uint8	   *key;
	int			key_length;
	size_t		length;

	initStringInfo(&signature);
	if (jwt->rs256)
	{
		if (!rsa_sign_sha256(secret, out->data, out->len, &signature))
			return false;
	}
	else
	{
		key_length = key_decode(jwt->format, secret, &key);
		if (key_length < 0)
			return false;
		length = digest_hmac(DIGEST_SHA256, key, key_length, out->data, out->len, digest);
		explicit_bzero(key, key_length);
		if (length == 0)
			return false;
		appendBinaryStringInfo(&signature, (char *) digest, length);
	}
	appendStringInfoChar(out, '.');
	append_base64url(out, signature.data, signature.len);
	return true;
}

bool
jwt_make(const JwtSpec *jwt, Evaluation *evaluation, StringInfo out)
{
	const char *secret = read_secret(evaluation, jwt->secret);
	const char *times = "";

	if (secret == NULL)
		return false;
	if (jwt->lifetime > 0)
		times = psprintf("\"iat\":" INT64_FORMAT ",\"exp\":" INT64_FORMAT,
						 evaluation->now, evaluation->now + jwt->lifetime);
	if (!append_object(out, jwt->rs256 ? "\"alg\":\"RS256\",\"typ\":\"JWT\"" :
					   "\"alg\":\"HS256\",\"typ\":\"JWT\"", jwt->header, evaluation))
		return false;
	appendStringInfoChar(out, '.');
	if (!append_object(out, times, jwt->claims, evaluation))
		return false;
	if (append_signature(jwt, secret, out))
		return true;
	evaluation->error = psprintf("the secret \"%s\" is not a key to sign with", jwt->secret);
	return false;
}

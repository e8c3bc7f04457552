/*
 * function_digest.c
 *		Functions of holes that make digests, signatures and names of a value.
 */
#include "postgres.h"

#include "common/base64.h"
#include "lib/stringinfo.h"

#include "base/compat.h"
#include "base/digest.h"
#include "connector/function.h"

static void
set_hex(Value *value, const uint8 *digest, size_t length)
{
	static const char digits[] = "0123456789abcdef";
	char	   *hex = palloc(length * 2 + 1);

	for (size_t i = 0; i < length; i++)
	{
		hex[i * 2] = digits[digest[i] >> 4];
		hex[i * 2 + 1] = digits[digest[i] & 15];
	}
	hex[length * 2] = '\0';
	function_set_text(value, hex, length * 2);
}

static void
set_base64(Value *value, const uint8 *bytes, size_t length)
{
	int			size = pg_b64_enc_len(length) + 1;
	char	   *text = palloc(size);

	function_set_text(value, text, pg_b64_encode((const Base64Byte *) bytes, length, text, size));
}

/* Digests come in hexadecimal digits, or in base64 where "form" says so. */
static bool
set_digest(Value *value, const uint8 *digest, size_t length, const Value *form,
		   const char **error)
{
	Slice		word;

	if (length == 0)
	{
		*error = "the digest could not be computed";
		return false;
	}
	if (form == NULL)
	{
		set_hex(value, digest, length);
		return true;
	}
	if (value_text(form, &word) && slice_is(word, "hex"))
		set_hex(value, digest, length);
	else if (value_text(form, &word) && slice_is(word, "base64"))
		set_base64(value, digest, length);
	else
	{
		*error = "a digest is written as 'hex' or 'base64'";
		return false;
	}
	return true;
}

static bool
apply_digest(DigestKind kind, Value *value, Slice text, const Value *arguments,
			 int argument_count, const char **error)
{
	uint8		digest[DIGEST_MAX_LENGTH];
	size_t		length = digest_compute(kind, text.data, text.length, digest);

	return set_digest(value, digest, length, argument_count > 0 ? &arguments[0] : NULL, error);
}

bool
apply_md5(Value *value, Slice text, const Value *arguments, int argument_count,
		  const char **error)
{
	return apply_digest(DIGEST_MD5, value, text, arguments, argument_count, error);
}

bool
apply_sha1(Value *value, Slice text, const Value *arguments, int argument_count,
		   const char **error)
{
	return apply_digest(DIGEST_SHA1, value, text, arguments, argument_count, error);
}

bool
apply_sha256(Value *value, Slice text, const Value *arguments, int argument_count,
			 const char **error)
{
	return apply_digest(DIGEST_SHA256, value, text, arguments, argument_count, error);
}

bool
apply_sha512(Value *value, Slice text, const Value *arguments, int argument_count,
			 const char **error)
{
	return apply_digest(DIGEST_SHA512, value, text, arguments, argument_count, error);
}

/* hmac(key[, form]): HMAC-SHA-256 of the value. */
bool
apply_hmac(Value *value, Slice text, const Value *arguments, int argument_count,
		   const char **error)
{
	uint8		digest[DIGEST_MAX_LENGTH];
	Slice		key;
	size_t		length;

	if (!value_text(&arguments[0], &key))
	{
		*error = "hmac takes a text as the key";
		return false;
	}
	length = digest_hmac(DIGEST_SHA256, key.data, key.length, text.data, text.length, digest);
	return set_digest(value, digest, length, argument_count > 1 ? &arguments[1] : NULL, error);
}

bool
apply_base64(Value *value, Slice text, const Value *arguments, int argument_count,
			 const char **error)
{
	set_base64(value, (const uint8 *) text.data, text.length);
	return true;
}

/* --- uuid5 --- */

#define UUID_BYTES 16

/* The name spaces of RFC 9562, section 6.6, differ in one byte. */
static bool
read_name_space(Slice word, uint8 *bytes)
{
	static const char *const names[] = {"dns", "url", "oid", NULL, "x500"};
	static const char common[] = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
	Slice		uuid = word;
	int			digits = 0;
	int			known = -1;

	for (int i = 0; i < (int) lengthof(names); i++)
		if (names[i] != NULL && slice_is(word, names[i]))
			known = i;
	if (known >= 0)
		uuid = (Slice) {common, sizeof(common) - 1};

	memset(bytes, 0, UUID_BYTES);
	for (uint32 i = 0; i < uuid.length; i++)
	{
		char		c = pg_ascii_tolower((unsigned char) uuid.data[i]);
		int			digit;

		if (c == '-')
			continue;
		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (c >= 'a' && c <= 'f')
			digit = c - 'a' + 10;
		else
			return false;
		if (digits == 2 * UUID_BYTES)
			return false;
		bytes[digits / 2] |= digits % 2 == 0 ? digit << 4 : digit;
		digits++;
	}
	if (known >= 0)
		bytes[3] += known;
	return digits == 2 * UUID_BYTES;
}

/*
 * uuid5(name space, ...): a UUID made of a name (RFC 9562, section 5.5), which is
 * the value and what further arguments add to it.
 */
bool
apply_uuid5(Value *value, Slice text, const Value *arguments, int argument_count,
			const char **error)
{
	StringInfoData name;
	uint8		bytes[DIGEST_MAX_LENGTH];
	Slice		word;
	char	   *uuid;

	if (!value_text(&arguments[0], &word) || !read_name_space(word, bytes))
	{
		*error = "uuid5 takes a UUID, 'dns', 'url', 'oid' or 'x500' as the name space";
		return false;
	}
	initStringInfo(&name);
	appendBinaryStringInfo(&name, (char *) bytes, UUID_BYTES);
	appendBinaryStringInfo(&name, text.data, text.length);
	for (int i = 1; i < argument_count; i++)
		if (value_text(&arguments[i], &word))
			appendBinaryStringInfo(&name, word.data, word.length);
	if (digest_compute(DIGEST_SHA1, name.data, name.len, bytes) == 0)
	{
		*error = "the digest could not be computed";
		return false;
	}
	bytes[6] = (bytes[6] & 0x0F) | 0x50;
	bytes[8] = (bytes[8] & 0x3F) | 0x80;
	uuid = psprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
					bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5],
					bytes[6], bytes[7], bytes[8], bytes[9], bytes[10], bytes[11],
					bytes[12], bytes[13], bytes[14], bytes[15]);
	function_set_text(value, uuid, strlen(uuid));
	return true;
}

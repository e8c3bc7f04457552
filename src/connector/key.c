/*
 * key.c
 *		Secrets that are keys of message authentication codes, in some format.
 */
#include "postgres.h"

#include "common/base64.h"

#include "base/compat.h"
#include "connector/connector_internal.h"

/* Of Standard Webhooks: https://www.standardwebhooks.com */
#define WHSEC_PREFIX "whsec_"

static int
decode_base64(const char *text, size_t length, uint8 **bytes)
{
	int			size = pg_b64_dec_len(length) + 1;

	*bytes = palloc(size);
	return pg_b64_decode(text, length, (Base64Byte *) *bytes, size);
}

static int
decode_hex(const char *text, size_t length, uint8 **bytes)
{
	static const char digits[] = "0123456789abcdef";

	if (length % 2 != 0)
		return -1;
	*bytes = palloc(length / 2 + 1);
	for (size_t i = 0; i < length; i++)
	{
		const char *digit = strchr(digits, pg_ascii_tolower((unsigned char) text[i]));

		if (digit == NULL)
			return -1;
		(*bytes)[i / 2] = (i % 2 == 0 ? 0 : (*bytes)[i / 2] << 4) | (digit - digits);
	}
	return length / 2;
}

int
key_decode(KeyFormat format, const char *secret, uint8 **bytes)
{
	size_t		length = strlen(secret);

	switch (format)
	{
		case KEY_TEXT:
			*bytes = (uint8 *) pstrdup(secret);
			return length;
		case KEY_HEX:
			return decode_hex(secret, length, bytes);
		case KEY_WHSEC:
			if (strncmp(secret, WHSEC_PREFIX, strlen(WHSEC_PREFIX)) == 0)
			{
				secret += strlen(WHSEC_PREFIX);
				length -= strlen(WHSEC_PREFIX);
			}
			return decode_base64(secret, length, bytes);
		case KEY_BASE64:
			return decode_base64(secret, length, bytes);
	}
	pg_unreachable();
}

const char *
key_fault(KeyFormat format, const char *value)
{
	uint8	   *bytes;
	int			length = key_decode(format, value, &bytes);

	if (length > 0)
	{
		explicit_bzero(bytes, length);
		return NULL;
	}
	switch (format)
	{
		case KEY_WHSEC:
			return "It must be \"whsec_\" and a key in base64.";
		case KEY_BASE64:
			return "It must be a key in base64.";
		case KEY_HEX:
			return "It must be a key in hexadecimal digits.";
		case KEY_TEXT:
			return "It must not be empty.";
	}
	pg_unreachable();
}

/*
 * header.c
 *		Names and values of HTTP headers.
 */
#include "postgres.h"

#include "http/header.h"

static bool
is_token(const char *text)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	for (const char *p = text; *p != '\0'; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
			  (*p >= '0' && *p <= '9') || strchr(others, *p) != NULL))
			return false;
	return *text != '\0';
}

const char *
header_name_fault(const char *name)
{
	static const char *const framing[] = {
		"Connection", "Content-Length", "Expect", "Host", "Keep-Alive",
		"Proxy-Authorization", "Proxy-Connection", "TE", "Trailer",
		"Transfer-Encoding", "Upgrade"
	};

	if (!is_token(name))
		return "a header's name must consist of letters, digits and hyphens";
	for (int i = 0; i < (int) lengthof(framing); i++)
		if (pg_strcasecmp(name, framing[i]) == 0)
			return "this header is set by the HTTP client itself";
	return NULL;
}

const char *
header_value_fault(const char *value)
{
	for (const unsigned char *p = (const unsigned char *) value; *p != '\0'; p++)
		if (*p < 0x20 || *p == 0x7F)
			return "a header's value must not hold control characters";
	return NULL;
}

const char *
header_find(const char *headers, const char *name, size_t *length)
{
	size_t		name_length = strlen(name);

	for (const char *line = headers; line != NULL && *line != '\0';)
	{
		const char *end = line + strcspn(line, "\r\n");

		if ((size_t) (end - line) > name_length && line[name_length] == ':' &&
			pg_strncasecmp(line, name, name_length) == 0)
		{
			const char *value = line + name_length + 1;

			while (value < end && (*value == ' ' || *value == '\t'))
				value++;
			while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
				end--;
			*length = end - value;
			return value;
		}
		line = end + strspn(end, "\r\n");
	}
	return NULL;
}

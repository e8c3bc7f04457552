/*
 * fuzz_header.c
 *		Headers, ours and a destination's, and text that may hold secrets.
 *
 * An input is a name on a line, and a value, or header lines, or a text.
 */
#include "postgres.h"

#include "http/header.h"
#include "http/redact.h"

#include "harness.h"

void
fuzz_header(const char *data, size_t length)
{
	char	   *name = pnstrdup(data, length);
	char	   *rest;
	const char *value;
	size_t		value_length;
	const char *secrets[1];
	char	   *redacted;

	name = pstrdup(take_line(name, &rest));
	rest = pstrdup(rest);

	/* What is sent is one header. */
	if (header_name_fault(name) == NULL && header_value_fault(rest) == NULL)
	{
		must(strpbrk(name, ": \r\n") == NULL && name[0] != '\0');
		must(strpbrk(rest, "\r\n") == NULL);
	}

	/* What is found is inside what was given, and of one line. */
	value = header_find(rest, name, &value_length);
	if (value != NULL)
	{
		must(value >= rest && value + value_length <= rest + strlen(rest));
		must(memchr(value, '\n', value_length) == NULL);
	}

	/* A secret is taken out, and nothing is read beyond the end. */
	secrets[0] = name;
	redacted = redact_text(rest, secrets, 1);
	if (strlen(name) >= 4 && strstr("[redacted]", name) == NULL && strpbrk(name, "[]redact") == NULL)
		must(strstr(redacted, name) == NULL);
}

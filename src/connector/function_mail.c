/*
 * function_mail.c
 *		Functions of templates over e-mail addresses.
 */
#include "postgres.h"

#include "connector/function.h"

static bool
is_of_domain(Slice address, const char *domain)
{
	uint32		length = strlen(domain);

	return address.length > length &&
		pg_strncasecmp(address.data + address.length - length, domain, length) == 0;
}

/* Google takes these for the same mailbox, and hashes of them must be the same. */
bool
apply_gmail(Value *value, Slice text, const Value *arguments, int argument_count,
			const char **error)
{
	char	   *result;
	uint32		length = 0;
	uint32		at;

	if (!is_of_domain(text, "@gmail.com") && !is_of_domain(text, "@googlemail.com"))
		return true;
	result = palloc(text.length + 1);
	for (at = text.length; text.data[at - 1] != '@'; at--)
		;
	at--;
	for (uint32 i = 0; i < at && text.data[i] != '+'; i++)
		if (text.data[i] != '.')
			result[length++] = text.data[i];
	memcpy(result + length, text.data + at, text.length - at);
	function_set_text(value, result, length + text.length - at);
	return true;
}

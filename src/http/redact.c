/*
 * redact.c
 *		Taking secrets out of text that comes from outside.
 *
 * Known secrets are the sure part.  The patterns are for what we never knew: an
 * answer that echoes a header, an error text with a signed URL.  They would
 * rather take too much than too little, since the text is an explanation beside
 * a status and a code, never data.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "http/redact.h"

static const char redacted[] = "[redacted]";

/* Shorter ones would take ordinary words with them. */
#define MIN_SECRET_LENGTH 4

static bool
is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* What a value in a header, a URL or a JSON string cannot go on after. */
static bool
ends_value(char c)
{
	return c == '\0' || strchr(" \t\r\n\"'<>&,;()[]{}", c) != NULL;
}

/* Appends the text with each occurrence of one secret replaced. */
static char *
replace_secret(const char *text, const char *secret)
{
	size_t		length = strlen(secret);
	StringInfoData out;

	if (length < MIN_SECRET_LENGTH || strstr(text, secret) == NULL)
		return pstrdup(text);

	initStringInfo(&out);
	for (const char *hit; (hit = strstr(text, secret)) != NULL; text = hit + length)
	{
		appendBinaryStringInfo(&out, text, hit - text);
		appendStringInfoString(&out, redacted);
	}
	appendStringInfoString(&out, text);
	return out.data;
}

/* How a secret looks inside a URL. */
static char *
percent_encoded(const char *secret)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *p = secret; *p != '\0'; p++)
	{
		if (is_word(*p) || *p == '.' || *p == '~')
			appendStringInfoChar(&out, *p);
		else
			appendStringInfo(&out, "%%%02X", (unsigned char) *p);
	}
	return out.data;
}

/* How a secret looks inside a JSON string, if nobody escaped more than needed. */
static char *
json_escaped(const char *secret)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *p = secret; *p != '\0'; p++)
	{
		if (*p == '"' || *p == '\\')
			appendStringInfoChar(&out, '\\');
		appendStringInfoChar(&out, *p);
	}
	return out.data;
}

/* Whether a word is the name of something secret. */
static bool
names_secret(const char *word, size_t length)
{
	static const char *const names[] = {
		"access_key", "access_token", "api-key", "api_key", "apikey",
		"authorization", "client_secret", "cookie", "passwd", "password",
		"private_key", "pwd", "secret", "signature", "sig", "token"
	};

	/* "X-Api-Key", "refresh_token": it is the end of the word that tells. */
	for (int i = 0; i < (int) lengthof(names); i++)
	{
		size_t		name_length = strlen(names[i]);

		if (length >= name_length &&
			pg_strncasecmp(word + length - name_length, names[i], name_length) == 0 &&
			(length == name_length || strchr("-_", word[length - name_length - 1]) != NULL))
			return true;
	}
	return false;
}

/*
 * If a secret's name ends right before p, returns where its value begins
 * (after a quote, a colon or equals sign, and a scheme such as "Bearer").
 */
static const char *
find_value(const char *p)
{
	const char *start = p;

	if (*p == '"' || *p == '\'')
		p++;
	while (*p == ' ')
		p++;
	if (*p != ':' && *p != '=')
		return NULL;
	p++;
	while (*p == ' ' || *p == '"' || *p == '\'')
		p++;
	return p > start && !ends_value(*p) ? p : NULL;
}

static bool
is_scheme(const char *word, size_t length)
{
	return (length == 6 && pg_strncasecmp(word, "Bearer", 6) == 0) ||
		(length == 5 && pg_strncasecmp(word, "Basic", 5) == 0);
}

/* Appends a URL from "://" on, without what may be secret; returns its end. */
static const char *
append_url_rest(StringInfo out, const char *p)
{
	const char *end = p;
	const char *authority_end;
	const char *host = p + 3;
	const char *query;

	while (!ends_value(*end) || *end == '&' || *end == ',' || *end == ';' ||
		   *end == '[' || *end == ']')
	{
		if (*end == '\0')
			break;
		end++;
	}
	authority_end = host + strcspn(host, "/?# \t\r\n\"'<>");
	authority_end = Min(authority_end, end);
	appendStringInfoString(out, "://");
	for (const char *at = authority_end; at > host; at--)
		if (at[-1] == '@')
		{
			appendStringInfo(out, "%s@", redacted);
			host = at;
			break;
		}
	query = host;
	while (query < end && *query != '?' && *query != '#')
		query++;
	appendBinaryStringInfo(out, host, query - host);
	if (query + 1 < end)
		appendStringInfo(out, "%c%s", *query, redacted);
	else
		appendBinaryStringInfo(out, query, end - query);
	return end;
}

static char *
redact_patterns(const char *text)
{
	StringInfoData out;
	const char *p = text;

	initStringInfo(&out);
	while (*p != '\0')
	{
		const char *word = p;
		const char *value = NULL;

		if (strncmp(p, "://", 3) == 0)
		{
			p = append_url_rest(&out, p);
			continue;
		}
		if (!is_word(*p))
		{
			appendStringInfoChar(&out, *p++);
			continue;
		}

		while (is_word(*p))
			p++;
		if (names_secret(word, p - word))
			value = find_value(p);
		else if (is_scheme(word, p - word) && *p == ' ' && strlen(p) > 8 &&
				 !ends_value(p[1]))
			value = p + 1;

		if (value == NULL)
		{
			appendBinaryStringInfo(&out, word, p - word);
			continue;
		}

		/* "Authorization: Bearer abc": the scheme is no secret. */
		p = value;
		while (is_word(*p))
			p++;
		if (is_scheme(value, p - value) && *p == ' ')
			value = p + 1;
		appendBinaryStringInfo(&out, word, value - word);
		p = value;
		if (!ends_value(*p))
			appendStringInfoString(&out, redacted);
		while (!ends_value(*p))
			p++;
	}
	return out.data;
}

char *
redact_text(const char *text, const char *const *secrets, int secret_count)
{
	char	   *result = pstrdup(text);

	for (int i = 0; i < secret_count; i++)
	{
		result = replace_secret(result, secrets[i]);
		result = replace_secret(result, json_escaped(secrets[i]));
		result = replace_secret(result, percent_encoded(secrets[i]));
	}
	return redact_patterns(result);
}

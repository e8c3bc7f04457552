/*
 * json_mutator.c
 *		Changing JSON texts into other JSON texts.
 *
 * A text is taken as a list of spans, each one value (or the name of a member):
 * a change replaces, removes or repeats one.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "json_mutator.h"

#define MAX_SPANS 2000
#define MAX_DEPTH 200

typedef struct Span
{
	size_t		start;
	size_t		end;
	size_t		member;			/* where its name begins; start: it has none */
	int			is_name;
} Span;

typedef struct Spans
{
	int			count;
	Span		spans[MAX_SPANS];
} Spans;

extern size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static const char *const values[] = {
	"null", "true", "false", "0", "-1", "1", "2", "1000000", "9223372036854775808", "1e400", "0.1",
	"\"\"", "\"a\"", "\"\\u0000\"", "\"\\ud800\"", "\"1\"", "[]", "{}", "[[]]", "{\"\":{}}", "[null]",
	"\"{{fields}}\"", "\"{{rows}}\"", "\"{{key}}\"", "\"{{id}}\"", "\"{{version}}\"", "\"{{row.email | lower | sha256}}\"",
	"\"{{record.key | json}}\"", "\"{{config.url}}\"", "\"{{secret.token}}\"", "\"{{attempt.now}}\"",
	"\"$\"", "\"$[*]\"", "\"$.errors[*].index\"", "\"$.** ? (@.id != null)\"", "\"upsert\"", "\"json\"", "\"POST\""
};

static unsigned int
draw(unsigned int *seed, unsigned int below)
{
	*seed = *seed * 1103515245u + 12345u;
	return below == 0 ? 0 : (*seed >> 8) % below;
}

static size_t
end_of_string(const char *text, size_t length, size_t start)
{
	size_t		p = start + 1;

	while (p < length && text[p] != '"')
		p += text[p] == '\\' ? 2 : 1;
	return p < length ? p + 1 : length;
}

static size_t
end_of_word(const char *text, size_t length, size_t start)
{
	size_t		p = start;

	while (p < length && strchr(",:]} \t\r\n\"[{", text[p]) == NULL)
		p++;
	return p > start ? p : start + 1;
}

static int
add_span(Spans *spans, size_t start, size_t end, size_t member)
{
	if (spans->count == MAX_SPANS)
		return -1;
	spans->spans[spans->count] = (Span) {start, end, member, 0};
	return spans->count++;
}

/* Finds all values; returns 0 when the text is not near enough to JSON. */
static int
find_spans(const char *text, size_t length, Spans *spans)
{
	int			open[MAX_DEPTH];
	int			depth = 0;
	int			last = -1;
	size_t		member = SIZE_MAX;

	spans->count = 0;
	for (size_t p = 0; p < length;)
	{
		char		c = text[p];
		size_t		name = member == SIZE_MAX ? p : member;

		if (c == ':' && last >= 0)
		{
			spans->spans[last].is_name = 1;
			member = spans->spans[last].start;
			p++;
			continue;
		}
		if (strchr(", \t\r\n:", c) != NULL)
		{
			p++;
			continue;
		}
		if (c == '}' || c == ']')
		{
			if (depth == 0)
				return 0;
			last = open[--depth];
			p++;
			if (last >= 0)
				spans->spans[last].end = p;
			continue;
		}
		if (c == '{' || c == '[')
		{
			if (depth == MAX_DEPTH)
				return 0;
			open[depth++] = add_span(spans, p, length, name);
			p++;
		}
		else
		{
			size_t		end = c == '"' ? end_of_string(text, length, p) : end_of_word(text, length, p);

			last = add_span(spans, p, end, name);
			p = end;
		}
		member = SIZE_MAX;
	}
	return depth == 0 && spans->count > 0;
}

/* Puts bytes in place of [start, end); returns the new length, 0: too long. */
static size_t
splice(char *text, size_t length, size_t max_length, size_t start, size_t end,
	   const char *bytes, size_t count)
{
	if (length - (end - start) + count > max_length)
		return 0;
	memmove(text + start + count, text + end, length - end);
	memcpy(text + start, bytes, count);
	return length - (end - start) + count;
}

static size_t
splice_copy(char *text, size_t length, size_t max_length, size_t start, size_t end,
			const char *bytes, size_t count)
{
	char	   *copy = malloc(count + 1);
	size_t		result;

	memcpy(copy, bytes, count);
	result = splice(text, length, max_length, start, end, copy, count);
	free(copy);
	return result;
}

/* Changes what is inside a string, as libFuzzer likes, and keeps it a string. */
static size_t
mutate_string(char *text, size_t length, size_t max_length, const Span *span)
{
	size_t		inside = span->end - span->start - 2;
	size_t		capacity = 2 * inside + 64;
	char	   *buffer = calloc(1, capacity);
	size_t		result;

	memcpy(buffer, text + span->start + 1, inside);
	inside = LLVMFuzzerMutate((uint8_t *) buffer, inside, capacity);
	for (size_t i = 0; i < inside; i++)
		if (buffer[i] == '"' || (unsigned char) buffer[i] < 0x20)
			buffer[i] = '\'';
	result = splice(text, length, max_length, span->start + 1, span->end - 1, buffer, inside);
	free(buffer);
	return result;
}

/* Removes a value, with its name and a comma. */
static size_t
remove_value(char *text, size_t length, const Span *span)
{
	size_t		start = span->member;
	size_t		end = span->end;

	while (end < length && strchr(" \t\r\n", text[end]) != NULL)
		end++;
	if (end < length && text[end] == ',')
		end++;
	else
		while (start > 0 && strchr(" \t\r\n,", text[start - 1]) != NULL)
			start--;
	return splice(text, length, length, start, end, "", 0);
}

/* Repeats a value, with its name, after a comma. */
static size_t
repeat_value(char *text, size_t length, size_t max_length, const Span *span)
{
	size_t		count = span->end - span->member;
	char	   *copy = malloc(count + 1);
	size_t		result;

	copy[0] = ',';
	memcpy(copy + 1, text + span->member, count);
	result = splice(text, length, max_length, span->end, span->end, copy, count + 1);
	free(copy);
	return result;
}

/* A value, or a name, at random. */
static const Span *
pick(const Spans *spans, unsigned int *seed, int is_name)
{
	for (int tries = 0; tries < 20; tries++)
	{
		const Span *span = &spans->spans[draw(seed, spans->count)];

		if (span->is_name == is_name)
			return span;
	}
	return NULL;
}

size_t
json_mutate(char *text, size_t length, size_t max_length, unsigned int seed)
{
	static Spans spans;
	int			is_name;
	const Span *span;
	const Span *other;
	const char *value;

	if (!find_spans(text, length, &spans))
		return 0;
	is_name = draw(&seed, 6) == 0;
	span = pick(&spans, &seed, is_name);
	other = pick(&spans, &seed, is_name);
	if (span == NULL || other == NULL)
		return 0;
	if (is_name || draw(&seed, 4) == 0)
		return splice_copy(text, length, max_length, span->start, span->end,
						   text + other->start, other->end - other->start);
	if (text[span->start] == '"' && span->end - span->start >= 2 && draw(&seed, 2) == 0)
		return mutate_string(text, length, max_length, span);
	switch (draw(&seed, 3))
	{
		case 0:
			return remove_value(text, length, span);
		case 1:
			return repeat_value(text, length, max_length, span);
		default:
			value = values[draw(&seed, sizeof(values) / sizeof(values[0]))];
			return splice(text, length, max_length, span->start, span->end, value, strlen(value));
	}
}

size_t
json_cross(const char *first, size_t first_length, const char *second, size_t second_length,
		   char *out, size_t max_length, unsigned int seed)
{
	static Spans of_first;
	static Spans of_second;
	const Span *target;
	const Span *source;

	if (first_length > max_length || !find_spans(first, first_length, &of_first) ||
		!find_spans(second, second_length, &of_second))
		return 0;
	target = pick(&of_first, &seed, 0);
	source = pick(&of_second, &seed, 0);
	if (target == NULL || source == NULL)
		return 0;
	memcpy(out, first, first_length);
	return splice(out, first_length, max_length, target->start, target->end,
				  second + source->start, source->end - source->start);
}

/*
 * jsonb_reader.h
 *		Reading jsonb documents member by member.
 *
 * Everything points into the document, except names and strings, which are
 * zero-terminated copies in CurrentMemoryContext, in the server's encoding.
 */
#ifndef SIGNALSMITH_JSONB_READER_H
#define SIGNALSMITH_JSONB_READER_H

#include "postgres.h"

#include "utils/jsonb.h"

typedef struct JsonbMember
{
	char	   *name;
	JsonbValue	value;
} JsonbMember;

extern JsonbValue jsonb_root(Jsonb *document);

extern bool jsonb_is_object(const JsonbValue *value);
extern bool jsonb_is_array(const JsonbValue *value);

/* What a value is, for messages: "a string", "an object" ... */
extern const char *jsonb_type_phrase(const JsonbValue *value);

/* Finds a member; false when there is none, or when the value is no object. */
extern bool jsonb_member(const JsonbValue *object, const char *name,
						 JsonbValue *member);

/* The members of an object, and the elements of an array, in order. */
extern int	jsonb_members(const JsonbValue *object, JsonbMember **members);
extern int	jsonb_elements(const JsonbValue *array, JsonbValue **elements);

extern char *jsonb_string(const JsonbValue *value);

/* A value as JSON text. */
extern char *jsonb_text(const JsonbValue *value);

/* A value as text: a string's content, else its JSON text. */
extern char *jsonb_plain_text(const JsonbValue *value);

#endif							/* SIGNALSMITH_JSONB_READER_H */

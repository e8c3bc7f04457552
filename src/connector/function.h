/*
 * function.h
 *		What a function of a hole looks like; for function*.c alone.
 */
#ifndef SIGNALSMITH_FUNCTION_H
#define SIGNALSMITH_FUNCTION_H

#include "postgres.h"

#include "connector/expression.h"

/*
 * Replaces *value by the result; false with *error set, a sentence's end about
 * the value, when there is none.  "text" is the value as text, unless the
 * function takes anything: null, absent, objects and arrays too.
 */
typedef bool (*ApplyFunction) (Value *value, Slice text, const Value *arguments,
							   int argument_count, const char **error);

static inline void
function_set_text(Value *value, const char *data, size_t length)
{
	value->kind = VALUE_TEXT;
	value->data.data = data;
	value->data.length = length;
}

static inline bool
slice_is(Slice text, const char *word)
{
	return text.length == strlen(word) && memcmp(text.data, word, text.length) == 0;
}

/* function_digest.c */
extern bool apply_md5(Value *value, Slice text, const Value *arguments,
					  int argument_count, const char **error);
extern bool apply_sha1(Value *value, Slice text, const Value *arguments,
					   int argument_count, const char **error);
extern bool apply_sha256(Value *value, Slice text, const Value *arguments,
						 int argument_count, const char **error);
extern bool apply_sha512(Value *value, Slice text, const Value *arguments,
						 int argument_count, const char **error);
extern bool apply_hmac(Value *value, Slice text, const Value *arguments,
					   int argument_count, const char **error);
extern bool apply_base64(Value *value, Slice text, const Value *arguments,
						 int argument_count, const char **error);
extern bool apply_uuid5(Value *value, Slice text, const Value *arguments,
						int argument_count, const char **error);

/* function_time.c */
extern bool apply_epoch(Value *value, Slice text, const Value *arguments,
						int argument_count, const char **error);
extern bool apply_epoch_ms(Value *value, Slice text, const Value *arguments,
						   int argument_count, const char **error);
extern bool apply_iso(Value *value, Slice text, const Value *arguments,
					  int argument_count, const char **error);
extern bool apply_date(Value *value, Slice text, const Value *arguments,
					   int argument_count, const char **error);

/* function_mail.c */
extern bool apply_gmail(Value *value, Slice text, const Value *arguments,
						int argument_count, const char **error);

/* function_object.c */
extern bool apply_only(Value *value, Slice text, const Value *arguments,
					   int argument_count, const char **error);
extern bool apply_without(Value *value, Slice text, const Value *arguments,
						  int argument_count, const char **error);
extern bool apply_stringify(Value *value, Slice text, const Value *arguments,
							int argument_count, const char **error);

#endif							/* SIGNALSMITH_FUNCTION_H */

/*
 * json_mutator.h
 *		Changing JSON texts into other JSON texts.
 *
 * Bytes changed at random seldom leave a JSON text one, and what comes behind the
 * parser would never be reached.
 */
#ifndef JSON_MUTATOR_H
#define JSON_MUTATOR_H

#include <stddef.h>

/*
 * Changes the text in place and returns its new length; 0 when it is not near
 * enough to JSON, or the result would be too long.
 */
extern size_t json_mutate(char *text, size_t length, size_t max_length, unsigned int seed);

/* The first text with a value of the second's in place of one of its own. */
extern size_t json_cross(const char *first, size_t first_length,
						 const char *second, size_t second_length,
						 char *out, size_t max_length, unsigned int seed);

#endif							/* JSON_MUTATOR_H */

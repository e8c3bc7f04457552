/*
 * header.h
 *		Names and values of HTTP headers (RFC 9110, section 5).
 */
#ifndef SIGNALSMITH_HEADER_H
#define SIGNALSMITH_HEADER_H

#include "postgres.h"

/*
 * What is wrong with a header that we are to send, for people, or NULL.  Names
 * are tokens and none of those that frame a message, which are the transport's;
 * values are free of control bytes, so that one value never becomes two headers.
 */
extern const char *header_name_fault(const char *name);
extern const char *header_value_fault(const char *value);

/*
 * Finds a header, by its name in any case, in raw header lines.  Returns its
 * value's first byte and sets *length, without white space around it; NULL when
 * there is none.
 */
extern const char *header_find(const char *headers, const char *name,
							   size_t *length);

#endif							/* SIGNALSMITH_HEADER_H */

/*
 * retry_after.h
 *		How long a server asks to wait (RFC 9110, section 10.2.3, and its
 *		relatives in the wild).
 *
 * Free of server headers, so that it can be tested and fuzzed by itself.
 */
#ifndef SIGNALSMITH_RETRY_AFTER_H
#define SIGNALSMITH_RETRY_AFTER_H

#include <stddef.h>
#include <stdint.h>

/*
 * Reads a header's value, which need not be zero-terminated: seconds, with a
 * fraction or not; an HTTP date in any of its three forms; or seconds or
 * milliseconds since 1970 (recognized by their size).  "now" is in seconds since
 * 1970.  Returns milliseconds to wait, 0 for a time that has passed, and -1 for
 * anything else.
 */
extern int64_t retry_after_parse(const char *value, size_t length, int64_t now);

#endif							/* SIGNALSMITH_RETRY_AFTER_H */

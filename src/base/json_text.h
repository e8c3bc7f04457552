/*
 * json_text.h
 *		JSON as text in UTF-8: writing strings, finding members, reading strings.
 *
 * Records travel as text from the plan to the request without ever being
 * parsed into a tree.  What is read here is text that we or the server wrote:
 * it must be well-formed JSON (RFC 8259), which is not checked again.  Answers
 * of destinations are none of this file's business; those are jsonb.
 */
#ifndef SIGNALSMITH_JSON_TEXT_H
#define SIGNALSMITH_JSON_TEXT_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/types.h"

/* Longest text that is written: one record, and far below palloc's limit. */
#define JSON_TEXT_MAX_LENGTH (256 * 1024 * 1024)

/* What can keep a value from being written. */
typedef enum JsonTextStatus
{
	JSON_TEXT_OK,
	JSON_TEXT_BAD_ENCODING,		/* cannot be represented in UTF-8 */
	JSON_TEXT_TOO_LONG			/* would pass JSON_TEXT_MAX_LENGTH */
} JsonTextStatus;

/*
 * Appends a string in quotes, escaped as the server's escape_json() does:
 * the short escapes, \u00XX for other control characters, all else as it is.
 * The first takes UTF-8 that is known to be valid, the second text in the
 * server's encoding.  On failure the buffer's content is undefined beyond its
 * old length.
 */
extern JsonTextStatus json_text_append_utf8(StringInfo out, const char *text,
											size_t length);
extern JsonTextStatus json_text_append_string(StringInfo out, const char *text,
											  size_t length);

/*
 * Appends text in the server's encoding, converted to UTF-8 and not changed
 * otherwise: for what is JSON text already.
 */
extern JsonTextStatus json_text_append_raw(StringInfo out, const char *text,
										   size_t length);

/*
 * Appends the content of a JSON string, given with its quotes, without escapes.
 * A \u escape that is no character (half a surrogate pair, which type json
 * lets pass) becomes U+FFFD.  The result may hold a zero byte (\u0000, which
 * type json lets pass too).
 */
extern void json_text_decode_string(StringInfo out, Slice string);

/*
 * Walks an object's members in order.  "object" may have white space around
 * it.  The name comes with its quotes, the value without white space around
 * it; both point into the object's own memory.
 */
typedef struct JsonTextCursor
{
	const char *position;
	const char *end;
} JsonTextCursor;

extern void json_text_begin_members(JsonTextCursor *cursor, Slice object);
extern bool json_text_next_member(JsonTextCursor *cursor, Slice *name, Slice *value);

/* The same for the elements of an array. */
extern void json_text_begin_elements(JsonTextCursor *cursor, Slice array);
extern bool json_text_next_element(JsonTextCursor *cursor, Slice *value);

/*
 * Finds a member, or by a path of names a member of a member.  Names are plain
 * UTF-8, without quotes or escapes.  Of several members of one name (type json
 * lets that pass) the first counts.  Returns false when there is none, or when
 * something on the way is no object.  *value points into the object's memory.
 */
extern bool json_text_member(Slice object, Slice name, Slice *value);
extern bool json_text_field(Slice object, const Slice *path, int path_length,
							Slice *value);

#endif							/* SIGNALSMITH_JSON_TEXT_H */

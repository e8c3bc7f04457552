/*
 * value.h
 *		SQL values as JSON text in UTF-8.
 */
#ifndef SIGNALSMITH_VALUE_H
#define SIGNALSMITH_VALUE_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/json_text.h"

/* What can keep a value, and so its row, from being sent. */
typedef enum ValueStatus
{
	VALUE_OK = JSON_TEXT_OK,
	VALUE_BAD_ENCODING = JSON_TEXT_BAD_ENCODING,
	VALUE_TOO_LONG = JSON_TEXT_TOO_LONG,
	VALUE_NOT_FINITE			/* NaN or infinite: JSON has no such number */
} ValueStatus;

/*
 * Writes values of one type.  Made once, used for every row; lives in the
 * memory context that was current when it was made.
 */
typedef struct ValueWriter ValueWriter;

extern ValueWriter *value_writer_create(Oid type);

/*
 * Appends a value that is not NULL, exactly as to_json() prints it under the
 * fixed settings (plan/fixed_settings.h).  Leaves garbage in
 * CurrentMemoryContext, and undefined text in "out" unless VALUE_OK.  Raises
 * only what a user's output or cast function raises.
 */
extern ValueStatus value_write(ValueWriter *writer, StringInfo out, Datum value);

/* Why the row of such a value was rejected: a code, and the rest of a sentence. */
extern const char *value_status_code(ValueStatus status);
extern const char *value_status_reason(ValueStatus status);

#endif							/* SIGNALSMITH_VALUE_H */

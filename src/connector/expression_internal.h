/*
 * expression_internal.h
 *		What a parsed hole looks like; for expression*.c alone.
 */
#ifndef SIGNALSMITH_EXPRESSION_INTERNAL_H
#define SIGNALSMITH_EXPRESSION_INTERNAL_H

#include "postgres.h"

#include "connector/expression.h"

#define MAX_ARGUMENTS 8

typedef enum Source
{
	SOURCE_CONSTANT,
	SOURCE_KEY,					/* the identifier */
	SOURCE_KEY_COLUMN,			/* a column of the primary key */
	SOURCE_ROW_FIELD,
	SOURCE_FIELDS,
	SOURCE_RECORD_KEY,			/* all columns of the primary key */
	SOURCE_RECORD_IDEMPOTENCY_KEY,
	SOURCE_RECORD_INDEX,
	SOURCE_ID,					/* the destination's own id of the record */
	SOURCE_VERSION,
	SOURCE_OP,
	SOURCE_BATCH_ID,
	SOURCE_BATCH_SIZE,
	SOURCE_RUN_ID,
	SOURCE_SYNC_ID,
	SOURCE_SYNC_NAME,
	SOURCE_SYNC_MODE,
	SOURCE_ATTEMPT_NUMBER,
	SOURCE_ATTEMPT_NOW,
	SOURCE_SECRET,
	SOURCE_TOKEN,				/* the access token, or what came with it */
	SOURCE_ASSERTION,
	SOURCE_REFRESH_TOKEN,
	SOURCE_ROWS,
	SOURCE_BODY,
	SOURCE_SIGNATURE
} Source;

typedef struct Reference
{
	Source		source;
	Value		constant;
	Slice	   *path;			/* of key, row and id */
	int			path_length;
	char	   *secret;
	int			captured;		/* of a token: from 0; -1: itself */
} Reference;

typedef struct Call
{
	const Function *function;
	int			argument_count;
	Reference	arguments[MAX_ARGUMENTS];
} Call;

struct Expression
{
	Reference	reference;
	int			call_count;
	Call	   *calls;
	char	   *text;			/* in the server's encoding */
};

static inline Slice
slice_of(const char *text)
{
	Slice		slice = {.data = text,.length = strlen(text)};

	return slice;
}

#endif							/* SIGNALSMITH_EXPRESSION_INTERNAL_H */

/*
 * verdict.h
 *		What rows are that a comparison could not decide one by one.
 */
#ifndef SIGNALSMITH_VERDICT_H
#define SIGNALSMITH_VERDICT_H

#include "postgres.h"

#include "storage/buffile.h"

#include "plan/diff.h"

typedef enum VerdictKind
{
	VERDICT_UNCHANGED,
	VERDICT_CHANGED,
	VERDICT_NEW,
	VERDICT_REPEATED,			/* other rows have the same key */
	VERDICT_REPEATS_UNCHANGED	/* one of them has been taken for unchanged */
} VerdictKind;

typedef struct Verdict
{
	uint32		entry;			/* of the snapshot; KEY_TABLE_NONE: none */
	uint8		kind;
	bool		known;			/* the destination has its record */
	bool		repeated;		/* for verdict.c alone */
} Verdict;

/* A row as far as the verdict on it depends on it. */
typedef struct UndecidedKey
{
	RecordKey	key;
	uint64		hash;
} UndecidedKey;

/*
 * Reaches a verdict on each row of a file of UndecidedKey, and gives a file of
 * Verdict in the same order.  A streaming comparison has seen the other rows,
 * and is told what entries these are; one in memory has found that their keys
 * are none of its own.  Takes memory up to the limit, and what it took goes into
 * *peak_memory.
 */
extern BufFile *verdicts_reach(Diff *diff, BufFile *rows, int64 count,
							   Size memory_limit, Size *peak_memory);

/* Reading and writing such files; less than all is an error. */
extern void file_write(BufFile *file, const void *data, Size size);
extern void file_read(BufFile *file, void *data, Size size);
extern void file_rewind(BufFile *file);

#endif							/* SIGNALSMITH_VERDICT_H */

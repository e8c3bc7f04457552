/*
 * row_failure.h
 *		Rows that failed: what signalsmith.row_errors shows.
 */
#ifndef SIGNALSMITH_ROW_FAILURE_H
#define SIGNALSMITH_ROW_FAILURE_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "base/types.h"

typedef struct RowFailure
{
	Operation	operation;
	Slice		key;			/* JSON text in UTF-8; empty: no key to name */
	bool		unknown;		/* else rejected */
	int			attempts;		/* 0: never sent */
	int			http_status;	/* 0: none */
	const char *code;			/* a word for programs, or NULL */
	const char *message;		/* redacted already, in the server's encoding */
} RowFailure;

typedef struct RowFailureWriter RowFailureWriter;

/*
 * Writes failures of one run in the plan's transaction, through the table
 * access method.  Numbers go on from the run's last one.
 */
extern RowFailureWriter *row_failure_writer_create(int64 run_id, int64 sync_id);
extern void row_failure_writer_add(RowFailureWriter *writer, const RowFailure *failure);
extern void row_failure_writer_finish(RowFailureWriter *writer);

/*
 * Inserts a list of RowFailure by SPI, inside the caller's scope, while the run
 * delivers.
 */
extern void row_failure_insert(int64 run_id, int64 sync_id, List *failures);

#endif							/* SIGNALSMITH_ROW_FAILURE_H */

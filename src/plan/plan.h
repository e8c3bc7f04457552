/*
 * plan.h
 *		From a model's query to the changes that a destination needs.
 */
#ifndef SIGNALSMITH_PLAN_H
#define SIGNALSMITH_PLAN_H

#include "postgres.h"

#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"

#include "base/types.h"
#include "plan/skip_list.h"
#include "store/definition.h"

/* --- checking a model or a mapping when it is saved (plan/model.c) --- */

/*
 * Checks that the text is exactly one SELECT that can be planned here and now,
 * by the current user under this search_path, and returns its columns
 * (ModelColumn).  Errors name the fault: ERRCODE_SYNTAX_ERROR,
 * ERRCODE_FEATURE_NOT_SUPPORTED, ERRCODE_UNDEFINED_COLUMN ...
 */
extern List *model_describe(const char *query, const char *search_path);

typedef struct ModelInput
{
	Oid			relation;
	Bitmapset  *columns;		/* attribute numbers; 0: the whole row */
} ModelInput;

/*
 * The relations and columns that the text of a model's query refers to
 * (ModelInput; a relation may come several times), without those that its views
 * and functions read.  Raises what model_describe raises, short of planning.
 */
extern List *model_inputs(const char *query, const char *search_path);

/*
 * Checks that the definition's key and mappings fit the model: everything that
 * plan_changes would refuse, without running the query.
 */
extern void model_check_mappings(const SyncDefinition *definition);

/* --- planning (plan/plan.c) --- */

typedef struct PlannedChange
{
	Operation	operation;
	RecordKey	key;
	uint64		hash;
	Record		record;			/* valid during the call */
} PlannedChange;

/* A row that cannot be sent. */
typedef struct RejectedRow
{
	Operation	operation;
	Slice		key;			/* as in Record; empty: none to name */
	bool		skippable;		/* the next two say which row it is */
	RecordKey	packed_key;
	uint64		hash;
	const char *code;
	const char *message;
} RejectedRow;

/*
 * Who takes what is planned: the outbox, or preview_sync.  "withdraw" takes
 * back changes already handed over, because their keys proved to be duplicated:
 * those whose key the test is true for.  "withdrawn" has how many rows of each
 * operation that are, and becomes how many changes it was.
 */
typedef struct PlanSink PlanSink;
struct PlanSink
{
	void		(*change) (PlanSink *sink, const PlannedChange *change);
	void		(*reject) (PlanSink *sink, const RejectedRow *row);
	void		(*withdraw) (PlanSink *sink, KeyTest is_withdrawn, void *arg,
							 int64 withdrawn[OPERATION_COUNT]);
};

typedef struct PlanFigures
{
	int64		rows_processed; /* rows the model returned */
	int64		rows_unchanged;
	int64		rows_left_alone;	/* changed or new, but not for this mode */
	int64		rows_rejected;
	int64		rows_skipped;	/* deletes too */
	int64		changes[OPERATION_COUNT];
	int64		snapshot_rows;	/* live records in the snapshot before */
	bool		creates_supersede;	/* some created keys may have an entry in the
									 * snapshot (a tombstone, say) */
	double		query_ms;		/* the query itself, without what follows */
	double		diff_ms;		/* hashing and looking up */
	double		stage_ms;		/* rendering and handing to the sink */
	int64		peak_memory;	/* bytes of the diff */
} PlanFigures;

typedef struct PlanOptions
{
	bool		full_resync;	/* everything counts as changed */
	bool		with_ids;		/* changes say the ids and versions that the
								 * snapshot has */
	SkipList   *skips;			/* what is left alone; NULL: nothing */
	bool		update_unknown; /* mode update asks the destination itself whether
								 * it has a record */

	/* Called now and then with the rows read so far; may be NULL. */
	void		(*progress) (void *arg, const PlanFigures *figures);
	void	   *progress_arg;
} PlanOptions;

/* How many bytes the packed keys of this sync have, KEY_WIDTH_xxx. */
extern int	plan_key_width(const SyncDefinition *definition);

/*
 * Whether key and identifier have to be stored beside the packed key, since
 * they cannot be had from it.
 */
extern bool plan_stores_identities(const SyncDefinition *definition);

/*
 * A text that names key columns, their types and the object: while it is the
 * same, the snapshot is worth something.
 */
extern char *plan_snapshot_key(const SyncDefinition *definition);

/*
 * Runs the model once, as the current user, under fixed settings and the
 * model's own search_path, and hands each change that the mode asks for to the
 * sink, in no particular order of operations.  Must run in a transaction that
 * is read only for the query's sake; calls table_writer_prepare_transaction.
 * Raises what the query raises, and ERRCODE_DATATYPE_MISMATCH or
 * ERRCODE_UNDEFINED_COLUMN when its columns are no longer those recorded.
 */
extern void plan_changes(const SyncDefinition *definition,
						 const PlanOptions *options, PlanSink *sink,
						 PlanFigures *figures);

#endif							/* SIGNALSMITH_PLAN_H */

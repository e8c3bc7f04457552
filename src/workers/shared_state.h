/*
 * shared_state.h
 *		What our processes tell each other through shared memory.
 *
 * There is some only when the library is preloaded.  Nothing in it is the truth
 * about runs, the tables are: what is lost here in a crash is found again there.
 * It holds ids, counters and times, no pointers.
 */
#ifndef SIGNALSMITH_SHARED_STATE_H
#define SIGNALSMITH_SHARED_STATE_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* Asks for the memory; called by _PG_init while libraries are preloaded. */
extern void shared_state_request(void);
extern bool shared_state_exists(void);

/*
 * When the memory was set up: when the server started or came back from a
 * crash.  Without shared memory: long ago.
 */
extern TimestampTz shared_state_initialized_at(void);

/* --- the launcher, and how others wake it --- */

/* This process is the launcher now; undone when it exits. */
extern void launcher_enlist(void);
extern bool launcher_is_running(void);

typedef enum LauncherMailKind
{
	MAIL_LOOK,					/* something may be due in this database */
	MAIL_REPORT					/* a scheduler has looked */
} LauncherMailKind;

typedef struct LauncherMail
{
	LauncherMailKind kind;
	Oid			database;
	TimestampTz next_look;		/* of a report; DT_NOEND: not before a MAIL_LOOK */
	bool		waiting;		/* of a report: runs wait for a free slot */
	bool		starved;		/* of a report: one of max_worker_processes */
} LauncherMail;

/*
 * Sends the launcher a mail and wakes it.  Never blocks for long, never raises;
 * when the box is full, the launcher looks at every database.
 */
extern void launcher_send(const LauncherMail *mail);

/* Takes the mails; returns their number.  *overflow: some were lost. */
extern int	launcher_receive(LauncherMail *mails, int size, bool *overflow);

/* --- slots: one for each runner --- */

/* Who has waited for a slot asks again within this time, or loses its turn. */
#define SLOT_PATIENCE_MS 3000

/*
 * Takes a free slot, if fewer than max_workers are taken and no other database
 * is to have it: one that waits too, and has fewer runs at work, or has waited
 * longer.  -1: none; from then on, until it exits, this process waits, and its
 * latch is set when somebody else leaves it a slot.
 *
 * A slot may be freed more than once: whoever has it by then keeps it.
 */
extern int	runner_slot_take(Oid database, int64 run_id);
extern void runner_slot_free(int slot, Oid database, int64 run_id);

/* Is a runner for this run at work, or on its way? */
extern bool runner_slot_is_taken(Oid database, int64 run_id);

/* What a runner shows of its progress while its transaction is open. */
typedef struct RunnerProgress
{
	int64		run_id;
	int64		rows_read;
	int64		changes_planned;
} RunnerProgress;

/* This process works in this slot from now on (-1: without one). */
extern void runner_slot_use(int slot);
extern void runner_show_progress(int64 rows_read, int64 changes_planned);

/* Those of one database; returns their number. */
extern int	runner_progress_read(Oid database, RunnerProgress *progress, int size);

#endif							/* SIGNALSMITH_SHARED_STATE_H */

/*
 * launcher.c
 *		The one permanent process: has a scheduler look into each database when
 *		something may be due there.
 *
 * It is connected to no database, only to the shared catalogs, so it is in
 * nobody's way.  For each database it knows when to look again:
 *
 *		   found in pg_database, or MAIL_LOOK
 *		unknown ------------------------------> due now
 *		                                          | a scheduler starts
 *		   next_look has come, MAIL_LOOK          v
 *		resting <------------------------------ looking
 *		          MAIL_REPORT, scheduler gone
 *
 * A scheduler that ends without a report could not look: the database is asked
 * again with growing delay, and forgotten once pg_database has it no more.
 * A report may say that runs wait for a free slot: then the end of any runner
 * has the launcher look there.  Of several that are due, the one is next that was
 * looked at longest ago.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/backoff.h"
#include "base/compat.h"
#include "base/settings.h"
#include "workers/shared_state.h"
#include "workers/start.h"

/* Schedulers at once: they are short, but each takes a worker's slot. */
#define MAX_SCHEDULERS 3

#define MAX_SLEEP_MS (60 * 1000)
#define RESCAN_MS (5 * 60 * 1000)
#define CLOCK_JUMP_MS 1000
#define MAIL_BATCH 128
#define FIRST_RETRY_MS 1000
#define LAST_RETRY_MS (5 * 60 * 1000)

typedef struct DatabaseEntry
{
	Oid			oid;			/* hash key */
	TimestampTz next_look;
	bool		waiting;		/* for a slot, with some run */
	uint64		last_turn;		/* who has the lower one was looked at longer ago */
	BackgroundWorkerHandle *scheduler;	/* NULL: none at work */
	bool		reported;		/* by the scheduler at work */
	bool		look_again;		/* asked for while it was at work */
	int			failures;		/* looks without a report, in a row */
	bool		seen;			/* by the scan under way */
} DatabaseEntry;

static HTAB *databases = NULL;
static TimestampTz next_rescan = 0;
static uint64 turns = 0;

/* --- which databases there are --- */

static DatabaseEntry *
enter_database(Oid oid)
{
	bool		found;
	DatabaseEntry *entry = hash_search(databases, &oid, HASH_ENTER, &found);

	if (!found)
	{
		memset(entry, 0, sizeof(DatabaseEntry));
		entry->oid = oid;
	}
	return entry;
}

static void
forget_missing_databases(void)
{
	HASH_SEQ_STATUS status;
	DatabaseEntry *entry;

	hash_seq_init(&status, databases);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (!entry->seen && entry->scheduler == NULL)
			(void) hash_search(databases, &entry->oid, HASH_REMOVE, NULL);
		else
			entry->seen = false;
	}
}

static void
scan_databases(void)
{
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		if (form->datallowconn && !form->datistemplate)
			enter_database(form->oid)->seen = true;
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();

	forget_missing_databases();
	next_rescan = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RESCAN_MS);
}

/* --- mail --- */

static void
look_at_waiting_databases(void)
{
	HASH_SEQ_STATUS status;
	DatabaseEntry *entry;

	hash_seq_init(&status, databases);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (entry->waiting)
			entry->next_look = 0;
}

static void
look_at_all_databases(void)
{
	HASH_SEQ_STATUS status;
	DatabaseEntry *entry;

	hash_seq_init(&status, databases);
	while ((entry = hash_seq_search(&status)) != NULL)
		entry->next_look = 0;
	next_rescan = 0;
}

/* Says that no worker's slot is free, but not every time. */
static void
complain_about_slots(void)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(last, now, 60 * 1000))
		return;
	last = now;
	ereport(LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("signalsmith waits for a free background worker slot"),
			 errhint("Consider raising max_worker_processes.")));
}

static void
take_report(DatabaseEntry *entry, const LauncherMail *mail)
{
	entry->reported = true;
	entry->failures = 0;
	entry->next_look = entry->look_again ? 0 : mail->next_look;
	entry->waiting = mail->waiting;
	if (mail->starved)
		complain_about_slots();
}

static void
take_mails(void)
{
	LauncherMail mails[MAIL_BATCH];
	bool		overflow;
	int			count = launcher_receive(mails, MAIL_BATCH, &overflow);

	for (int i = 0; i < count; i++)
	{
		DatabaseEntry *entry = enter_database(mails[i].database);

		if (mails[i].kind == MAIL_REPORT)
			take_report(entry, &mails[i]);
		else
		{
			entry->next_look = 0;
			entry->look_again = entry->scheduler != NULL && !entry->reported;
			look_at_waiting_databases();
		}
	}
	if (overflow)
		look_at_all_databases();
}

/* --- schedulers --- */

static void
retry_later(DatabaseEntry *entry)
{
	int64		delay_ms = LAST_RETRY_MS;

	if (entry->failures < 16)
		delay_ms = Min(delay_ms, (int64) FIRST_RETRY_MS << entry->failures);
	entry->failures++;
	entry->next_look = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay_ms);
	next_rescan = 0;
}

/* Returns how many are still at work. */
static int
reap_schedulers(void)
{
	HASH_SEQ_STATUS status;
	DatabaseEntry *entry;
	int			at_work = 0;

	hash_seq_init(&status, databases);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		pid_t		pid;

		if (entry->scheduler == NULL)
			continue;
		if (GetBackgroundWorkerPid(entry->scheduler, &pid) != BGWH_STOPPED)
		{
			at_work++;
			continue;
		}
		pfree(entry->scheduler);
		entry->scheduler = NULL;
		take_mails();
		if (!entry->reported)
			retry_later(entry);
		entry->look_again = false;
	}
	return at_work;
}

/* The next database to look at: the due ones take turns. */
static DatabaseEntry *
choose_database(TimestampTz now)
{
	HASH_SEQ_STATUS status;
	DatabaseEntry *entry;
	DatabaseEntry *best = NULL;

	hash_seq_init(&status, databases);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (entry->scheduler != NULL || entry->next_look > now)
			continue;
		if (best == NULL || entry->last_turn < best->last_turn)
			best = entry;
	}
	return best;
}

/* Returns whether a further one could be started as soon as one is due. */
static bool
start_schedulers(int at_work)
{
	if (!setting_enabled)
		return false;
	while (at_work < MAX_SCHEDULERS)
	{
		DatabaseEntry *entry = choose_database(GetCurrentTimestamp());

		if (entry == NULL)
			return true;
		entry->scheduler = scheduler_start(entry->oid, MyProcPid);
		if (entry->scheduler == NULL)
		{
			complain_about_slots();
			entry->next_look = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), FIRST_RETRY_MS);
			return true;
		}
		entry->last_turn = ++turns;
		entry->reported = false;
		entry->look_again = false;
		entry->next_look = DT_NOEND;
		at_work++;
	}
	return false;
}

/* --- the loop --- */

/*
 * Times to look again are those of the day: when the clock is set, all of them
 * may be wrong, and so may be those that schedulers have found.
 */
static void
notice_clock_jump(void)
{
	static int64 last_offset_ms = 0;
	int64		offset_ms = GetCurrentTimestamp() / 1000 - monotonic_ms();

	if (last_offset_ms != 0 && llabs(offset_ms - last_offset_ms) > CLOCK_JUMP_MS)
		look_at_all_databases();
	last_offset_ms = offset_ms;
}

/* Milliseconds until a database is due; a latch may come earlier. */
static long
sleep_ms(void)
{
	HASH_SEQ_STATUS status;
	DatabaseEntry *entry;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = TimestampTzPlusMilliseconds(now, MAX_SLEEP_MS);

	hash_seq_init(&status, databases);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (entry->scheduler == NULL && entry->next_look < next)
			next = entry->next_look;
	return TimestampDifferenceMilliseconds(now, next);
}

static void
wait_for_work(long timeout_ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 timeout_ms, extension_wait_event("SignalsmithLauncherMain"));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		look_at_all_databases();
	}
}

static void
initialize_launcher(void)
{
	HASHCTL		control = {0};

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("signalsmith launcher");

	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(DatabaseEntry);
	control.hcxt = TopMemoryContext;	/* as long as this process */
	databases = hash_create("signalsmith databases", 64, &control,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	launcher_enlist();
}

void
signalsmith_launcher_main(Datum arg)
{
	initialize_launcher();
	for (;;)
	{
		bool		may_start;

		notice_clock_jump();
		if (GetCurrentTimestamp() >= next_rescan)
			scan_databases();
		MemoryContextSwitchTo(TopMemoryContext);
		take_mails();
		may_start = start_schedulers(reap_schedulers());
		wait_for_work(may_start ? sleep_ms() : MAX_SLEEP_MS);
	}
}

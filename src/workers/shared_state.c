/*
 * shared_state.c
 *		What our processes tell each other through shared memory.
 *
 * One small fixed structure under one lock, held for a few instructions only.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "base/backoff.h"
#include "base/compat.h"
#include "base/settings.h"
#include "workers/shared_state.h"

#define MAILBOX_SIZE 128
#define WAITERS_SIZE 16
#define TRANCHE_NAME "signalsmith"

typedef struct RunnerSlot
{
	bool		taken;
	Oid			database;
	int64		run_id;
	pg_atomic_uint64 rows_read;
	pg_atomic_uint64 changes_planned;
} RunnerSlot;

/* A scheduler that has runs to start, and no slot for them. */
typedef struct SlotWaiter
{
	Oid			database;		/* InvalidOid: nobody */
	int			procno;
	uint64		turn;			/* who has the lower one has waited longer */
	int64		asked_ms;		/* when it last asked; monotonic */
} SlotWaiter;

typedef struct SharedState
{
	TimestampTz initialized_at;
	int			launcher_procno;	/* index in ProcGlobal; -1: not running */
	int			mail_count;
	bool		mail_overflow;
	LauncherMail mails[MAILBOX_SIZE];
	RunnerSlot	slots[MAX_WORKERS_LIMIT];
	SlotWaiter	waiters[WAITERS_SIZE];
	uint64		next_turn;
} SharedState;

static SharedState *shared = NULL;
static LWLock *shared_lock = NULL;
static int	my_slot = -1;
static SlotWaiter *my_waiter = NULL;

static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

/* --- setting up --- */

static void
request_memory(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(SharedState)));
	RequestNamedLWLockTranche(TRANCHE_NAME, 1);
}

static void
initialize_memory(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct(TRANCHE_NAME, sizeof(SharedState), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(SharedState));
		shared->initialized_at = GetCurrentTimestamp();
		shared->launcher_procno = -1;
		for (int i = 0; i < MAX_WORKERS_LIMIT; i++)
		{
			pg_atomic_init_u64(&shared->slots[i].rows_read, 0);
			pg_atomic_init_u64(&shared->slots[i].changes_planned, 0);
		}
	}
	shared_lock = &GetNamedLWLockTranche(TRANCHE_NAME)->lock;
	LWLockRelease(AddinShmemInitLock);
}

void
shared_state_request(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = initialize_memory;
}

bool
shared_state_exists(void)
{
	return shared != NULL;
}

TimestampTz
shared_state_initialized_at(void)
{
	return shared ? shared->initialized_at : DT_NOBEGIN;
}

/* --- the launcher --- */

static void
launcher_resign(int code, Datum arg)
{
	LWLockAcquire(shared_lock, LW_EXCLUSIVE);
	shared->launcher_procno = -1;
	LWLockRelease(shared_lock);
}

void
launcher_enlist(void)
{
	before_shmem_exit(launcher_resign, (Datum) 0);
	LWLockAcquire(shared_lock, LW_EXCLUSIVE);
	shared->launcher_procno = my_proc_number();
	LWLockRelease(shared_lock);
}

bool
launcher_is_running(void)
{
	bool		running;

	if (shared == NULL)
		return false;
	LWLockAcquire(shared_lock, LW_SHARED);
	running = shared->launcher_procno >= 0;
	LWLockRelease(shared_lock);
	return running;
}

/* A database needs no second request to look at it. */
static bool
mail_is_known(const LauncherMail *mail)
{
	if (mail->kind != MAIL_LOOK)
		return false;
	for (int i = 0; i < shared->mail_count; i++)
		if (shared->mails[i].kind == MAIL_LOOK &&
			shared->mails[i].database == mail->database)
			return true;
	return false;
}

void
launcher_send(const LauncherMail *mail)
{
	if (shared == NULL)
		return;
	LWLockAcquire(shared_lock, LW_EXCLUSIVE);
	if (!mail_is_known(mail))
	{
		if (shared->mail_count < MAILBOX_SIZE)
			shared->mails[shared->mail_count++] = *mail;
		else
			shared->mail_overflow = true;
	}
	if (shared->launcher_procno >= 0)
		SetLatch(&ProcGlobal->allProcs[shared->launcher_procno].procLatch);
	LWLockRelease(shared_lock);
}

int
launcher_receive(LauncherMail *mails, int size, bool *overflow)
{
	int			count;

	LWLockAcquire(shared_lock, LW_EXCLUSIVE);
	count = Min(size, shared->mail_count);
	memcpy(mails, shared->mails, count * sizeof(LauncherMail));
	*overflow = shared->mail_overflow || count < shared->mail_count;
	shared->mail_count = 0;
	shared->mail_overflow = false;
	LWLockRelease(shared_lock);
	return count;
}

/* --- runner slots --- */

static bool
slot_is_taken_by(int slot, Oid database, int64 run_id)
{
	return shared->slots[slot].taken &&
		shared->slots[slot].database == database &&
		shared->slots[slot].run_id == run_id;
}

static int
find_free_slot(void)
{
	int			taken = 0;
	int			unused = -1;

	for (int i = 0; i < MAX_WORKERS_LIMIT; i++)
	{
		if (shared->slots[i].taken)
			taken++;
		else if (unused < 0)
			unused = i;
	}
	return taken < setting_max_workers ? unused : -1;
}

static int
count_slots_of(Oid database)
{
	int			count = 0;

	for (int i = 0; i < MAX_WORKERS_LIMIT; i++)
		if (shared->slots[i].taken && shared->slots[i].database == database)
			count++;
	return count;
}

static void
wake_other_waiters(void)
{
	for (int i = 0; i < WAITERS_SIZE; i++)
	{
		SlotWaiter *waiter = &shared->waiters[i];

		if (OidIsValid(waiter->database) && waiter != my_waiter)
			SetLatch(&ProcGlobal->allProcs[waiter->procno].procLatch);
	}
}

static void
stop_waiting(int code, Datum arg)
{
	LWLockAcquire(shared_lock, LW_EXCLUSIVE);
	my_waiter->database = InvalidOid;
	my_waiter = NULL;
	wake_other_waiters();
	LWLockRelease(shared_lock);
}

/*
 * Queues this process up until it exits; with every place taken, it asks again
 * later like anybody else.
 */
static void
start_waiting(Oid database)
{
	for (int i = 0; my_waiter == NULL && i < WAITERS_SIZE; i++)
	{
		if (OidIsValid(shared->waiters[i].database))
			continue;
		my_waiter = &shared->waiters[i];
		my_waiter->database = database;
		my_waiter->procno = my_proc_number();
		my_waiter->turn = shared->next_turn++;
		before_shmem_exit(stop_waiting, (Datum) 0);
	}
	if (my_waiter)
		my_waiter->asked_ms = monotonic_ms();
}

/* Has another database waited longer, or fewer runs at work? */
static bool
is_anothers_turn(Oid database)
{
	int64		now_ms = monotonic_ms();
	int			ours = count_slots_of(database);

	for (int i = 0; i < WAITERS_SIZE; i++)
	{
		SlotWaiter *waiter = &shared->waiters[i];
		int			theirs;

		if (!OidIsValid(waiter->database) || waiter->database == database ||
			now_ms - waiter->asked_ms > SLOT_PATIENCE_MS)
			continue;
		theirs = count_slots_of(waiter->database);
		if (theirs < ours ||
			(theirs == ours && (my_waiter == NULL || waiter->turn < my_waiter->turn)))
			return true;
	}
	return false;
}

static void
take_slot(int slot, Oid database, int64 run_id)
{
	shared->slots[slot].taken = true;
	shared->slots[slot].database = database;
	shared->slots[slot].run_id = run_id;
	pg_atomic_write_u64(&shared->slots[slot].rows_read, 0);
	pg_atomic_write_u64(&shared->slots[slot].changes_planned, 0);
	if (my_waiter)
		my_waiter->turn = shared->next_turn++;
}

int
runner_slot_take(Oid database, int64 run_id)
{
	int			slot;

	LWLockAcquire(shared_lock, LW_EXCLUSIVE);
	slot = find_free_slot();
	if (slot >= 0 && is_anothers_turn(database))
	{
		wake_other_waiters();
		slot = -1;
	}
	if (slot >= 0)
		take_slot(slot, database, run_id);
	else
		start_waiting(database);
	LWLockRelease(shared_lock);
	return slot;
}

void
runner_slot_free(int slot, Oid database, int64 run_id)
{
	if (slot < 0)
		return;
	LWLockAcquire(shared_lock, LW_EXCLUSIVE);
	if (slot_is_taken_by(slot, database, run_id))
		shared->slots[slot].taken = false;
	LWLockRelease(shared_lock);
}

bool
runner_slot_is_taken(Oid database, int64 run_id)
{
	bool		taken = false;

	LWLockAcquire(shared_lock, LW_SHARED);
	for (int i = 0; i < MAX_WORKERS_LIMIT && !taken; i++)
		taken = slot_is_taken_by(i, database, run_id);
	LWLockRelease(shared_lock);
	return taken;
}

void
runner_slot_use(int slot)
{
	my_slot = slot;
}

void
runner_show_progress(int64 rows_read, int64 changes_planned)
{
	if (my_slot < 0)
		return;
	pg_atomic_write_u64(&shared->slots[my_slot].rows_read, rows_read);
	pg_atomic_write_u64(&shared->slots[my_slot].changes_planned, changes_planned);
}

int
runner_progress_read(Oid database, RunnerProgress *progress, int size)
{
	int			count = 0;

	if (shared == NULL)
		return 0;
	LWLockAcquire(shared_lock, LW_SHARED);
	for (int i = 0; i < MAX_WORKERS_LIMIT && count < size; i++)
	{
		RunnerSlot *slot = &shared->slots[i];

		if (!slot->taken || slot->database != database)
			continue;
		progress[count].run_id = slot->run_id;
		progress[count].rows_read = pg_atomic_read_u64(&slot->rows_read);
		progress[count].changes_planned = pg_atomic_read_u64(&slot->changes_planned);
		count++;
	}
	LWLockRelease(shared_lock);
	return count;
}

/*
 * delivery.c
 *		The second phase of a run: sending what is in the outbox.
 *
 * One loop keeps up to max_in_flight requests under way and waits for whatever
 * comes first: an answer, the time of a batch that has to be sent again, the
 * time when a limit of the destination allows more, the time to record a group of
 * acknowledgements, a signal.  What follows from an
 * answer is decided in answer.c.
 *
 * Cancelling lets the requests in flight finish for a moment; what has not
 * answered by then is of unknown outcome.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"

#include "base/backoff.h"
#include "base/fault.h"
#include "base/idempotency.h"
#include "plan/xxh3.h"
#include "run/answer.h"
#include "run/delivery_setup.h"
#include "run/delivery_state.h"
#include "run/lookup.h"
#include "run/table_delivery.h"
#include "run/token_renewal.h"
#include "store/transaction.h"

/* How long a cancelled run waits for the requests in flight. */
#define CANCEL_GRACE_MS 1000

/* --- stopping --- */

static void
check_cancel(Delivery *delivery)
{
	if (!QueryCancelPending || delivery->cancelled_at_ms != 0)
		return;
	delivery->cancelled_at_ms = monotonic_ms();
	delivery_stop(delivery, DELIVERY_CANCELLED, "cancelled by request");
}

static bool
grace_is_over(const Delivery *delivery)
{
	return delivery->cancelled_at_ms != 0 &&
		monotonic_ms() >= delivery->cancelled_at_ms + CANCEL_GRACE_MS;
}

/* --- sending --- */

/* Other bytes than planned need another key, the same for the same bytes. */
static void
revise_key(pg_uuid_t *key, uint64 revision)
{
	pg_uuid_t	planned = *key;

	if (revision != 0)
		idempotency_derive(&planned, (uint32) revision, (uint32) (revision >> 32), 1, key);
}

static Batch *
make_batch(const PendingBatch *pending)
{
	const Bundle *bundle = pending->loaded->bundle;
	Batch	   *batch = palloc0(sizeof(Batch));
	uint64		revisions = 0;

	batch->operation = pending->operation;
	batch->is_lookup = pending->records != NULL;
	batch->attempt = bundle->attempts + pending->attempts;
	batch->record_count = pending->count;
	batch->records = palloc(pending->count * sizeof(BatchRecord));
	for (int i = 0; i < pending->count; i++)
	{
		int			record = pending_record(pending, i);
		uint64		revision = lookup_revision(pending, i);

		batch->records[i].record = bundle->records[record];
		batch->records[i].idempotency_key = outbox_record_id(bundle, record);
		revise_key(&batch->records[i].idempotency_key, revision);
		if (revision != 0)
			revisions = hash_combine64(revisions, hash_combine64(revision, i));
	}
	batch->id = outbox_batch_id(bundle, pending_record(pending, 0),
								batch->is_lookup ? 1 : pending->count);
	revise_key(&batch->id, revisions);
	return batch;
}

/* For the case that the destination finds them changed. */
static void
note_hash(PendingBatch *pending, const HttpRequest *request)
{
	pending->hash = XXH3_64bits(request->body, request->body != NULL ? request->body_length : 0);
	if (pending->first_hash == 0)
		pending->first_hash = pending->hash;
}

static void
send_batch(Delivery *delivery, PendingBatch *pending)
{
	MemoryContext old_context = MemoryContextSwitchTo(pending->context);
	HttpRequest request;
	char	   *error;

	if (connector_render(delivery->connector, &delivery->facts, pending->batch,
						 &request, &error))
	{
		request.timeout_ms = delivery->definition->timeout_ms;
		note_hash(pending, &request);
		pending->attempts++;
		token_note_sent(delivery, pending);
		dlist_push_tail(&delivery->in_flight, &pending->node);
		FAULT_POINT("before-send");
		transport_submit(delivery->transport, &request, pending);
	}
	else if (pending->count > 1)
		batch_queue_split(delivery->queue, pending);
	else
	{
		delivery_fail_record(delivery, pending, 0, false, 0, "not_representable", error);
		batch_queue_done(delivery->queue, pending, 0);
	}
	MemoryContextSwitchTo(old_context);
}

/* Fails what is open of a batch that may have arrived, for all we know. */
static void
give_up_batch(Delivery *delivery, PendingBatch *pending, const char *message)
{
	const Bundle *bundle = pending->loaded->bundle;

	for (int i = 0; i < pending->count; i++)
	{
		if (bundle->outcomes[pending->first + i] == OUTCOME_OPEN)
			delivery_fail_record(delivery, pending, i, true, 0, "no_answer", message);
	}
}

/*
 * Whether an earlier runner, which is gone, may have sent the batch, and sending
 * it twice would do harm.  What it began, it has noted by whole bundles.
 */
static bool
must_not_be_repeated(const Delivery *delivery, const PendingBatch *pending)
{
	return pending->records == NULL && pending->loaded->bundle->attempts > 1 &&
		!connector_is_idempotent(delivery->connector, pending->operation);
}

/* Whether the batch is to be sent now; else it has been seen to. */
static bool
prepare_batch(Delivery *delivery, PendingBatch *pending)
{
	MemoryContext old_context;

	if (pending->records == NULL && !lookup_prepare_batch(delivery, pending))
		return false;
	if (must_not_be_repeated(delivery, pending))
	{
		give_up_batch(delivery, pending,
					  "an earlier process may have sent it, and it cannot be sent twice without harm");
		batch_queue_done(delivery->queue, pending, 0);
		return false;
	}
	old_context = MemoryContextSwitchTo(pending->context);
	pending->batch = make_batch(pending);
	MemoryContextSwitchTo(old_context);
	return true;
}

/* Asks for leave to send the batch; without, puts it where it waits. */
static bool
enter_gate(Delivery *delivery, PendingBatch *pending)
{
	RateDemand	demands[RATE_MAX_LIMITS];
	const RateDemand *longest;
	MemoryContext old_context;
	int64		wait_ms;
	int			count;

	old_context = MemoryContextSwitchTo(pending->context);
	count = connector_rate_demands(delivery->connector, &delivery->facts, pending->batch,
								   demands);
	MemoryContextSwitchTo(old_context);
	wait_ms = destination_gate_enter(delivery->gate, demands, count, &longest);
	if (wait_ms == 0)
		return true;
	if (longest != NULL && longest->of_partition)
	{
		parking_add(delivery->parking, pending, longest->counter, monotonic_ms() + wait_ms);
		return false;
	}

	/* Another runner may open a closed gate before its time. */
	delivery_wait_for_gate(delivery, longest == NULL ? Min(wait_ms, GATE_LOOK_MS) : wait_ms);
	batch_queue_put_back(delivery->queue, pending, 0);
	return false;
}

static PendingBatch *
next_batch(Delivery *delivery, int64 now_ms)
{
	PendingBatch *pending = parking_next(delivery->parking, now_ms);

	return pending != NULL ? pending : batch_queue_next(delivery->queue, now_ms);
}

static void
send_batches(Delivery *delivery)
{
	int64		now_ms = monotonic_ms();

	while (!delivery->stopping && delivery->gate_opens_ms <= now_ms &&
		   !batch_queue_is_done(delivery->queue) &&
		   transport_in_flight(delivery->transport) < delivery->max_in_flight &&
		   token_is_ready(delivery))
	{
		PendingBatch *pending = next_batch(delivery, now_ms);

		if (pending == NULL)
			break;
		if (prepare_batch(delivery, pending) && enter_gate(delivery, pending))
		{
			if (delivery->table != NULL)
				deliver_to_table(delivery, pending);
			else
				send_batch(delivery, pending);
		}
		check_cancel(delivery);
	}
}

/* --- answers --- */

static void
take_answers(Delivery *delivery)
{
	HttpAnswer *answer;

	while ((answer = transport_next_answer(delivery->transport)) != NULL)
	{
		PendingBatch *pending = answer->tag;
		MemoryContext old_context;

		if (token_take_answer(delivery, answer))
			continue;
		old_context = MemoryContextSwitchTo(delivery->answer_context);
		FAULT_POINT("after-answer");
		dlist_delete(&pending->node);
		if (answer->result == HTTP_ANSWERED || answer->result == HTTP_UNKNOWN)
			acknowledgement_count_request(delivery->group, answer->resent ? 2 : 1,
										  answer->bytes_sent, answer->total_us,
										  pending->attempts == 1);
		delivery_handle_answer(delivery, pending, answer);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(delivery->answer_context);
	}
}

/* --- ending --- */

static void
record_group(Delivery *delivery)
{
	acknowledgement_record(delivery->group);
	batch_queue_forget_settled(delivery->queue);
}

/*
 * Of what a stopped run leaves behind, some may have arrived: what is in
 * flight, what was to be repeated, what an earlier runner of this run had begun
 * to send.  That is unknown, and marked so; the rest is simply planned again.
 */
static void
give_up_unanswered(Delivery *delivery)
{
	static const char ended_early[] = "the run ended before an answer came";
	PendingBatch *parked;
	dlist_iter	iter;

	if (!delivery->stopping)
		return;
	while ((parked = parking_clear(delivery->parking)) != NULL)
		batch_queue_put_back(delivery->queue, parked, 0);
	dlist_foreach(iter, &delivery->in_flight)
	{
		PendingBatch *pending = dlist_container(PendingBatch, node, iter.cur);

		if (pending->records == NULL)
			give_up_batch(delivery, pending, ended_early);
	}

	for (;;)
	{
		PendingBatch *pending = batch_queue_next(delivery->queue, PG_INT64_MAX);

		if (pending == NULL && acknowledgement_pending(delivery->group))
		{
			/* Makes room for the next bundles. */
			record_group(delivery);
			continue;
		}
		if (pending == NULL)
			break;
		if (pending->fresh && pending->loaded->bundle->attempts <= 1)
			break;
		if (pending->records == NULL && delivery->table == NULL &&
			(pending->ambiguous || pending->loaded->bundle->attempts > 1))
			give_up_batch(delivery, pending, ended_early);
		batch_queue_drop(delivery->queue, pending);
	}
}

/* --- the loop --- */

/* Milliseconds until a batch can be sent, as far as that is only a question of time; -1: none. */
static int64
sending_wait_ms(const Delivery *delivery, int64 now_ms)
{
	int64		waiting_ms = batch_queue_wait_ms(delivery->queue, now_ms);
	int64		parked_ms = parking_wait_ms(delivery->parking, now_ms);
	int64		token_ms = token_wait_ms(delivery);

	if (token_ms > 0)
		return Max(token_ms, delivery->gate_opens_ms - now_ms);
	if (waiting_ms < 0 && parked_ms < 0)
		return -1;
	if (waiting_ms < 0 || (parked_ms >= 0 && parked_ms < waiting_ms))
		waiting_ms = parked_ms;
	return Max(waiting_ms, delivery->gate_opens_ms - now_ms);
}

static long
wait_limit(Delivery *delivery)
{
	int64		limit_ms = acknowledgement_wait_ms(delivery->group);
	int64		wait_ms = sending_wait_ms(delivery, monotonic_ms());

	if (wait_ms >= 0 && !delivery->stopping &&
		transport_in_flight(delivery->transport) < delivery->max_in_flight)
		limit_ms = Min(limit_ms, wait_ms);
	if (delivery->cancelled_at_ms != 0)
		limit_ms = Min(limit_ms, CANCEL_GRACE_MS / 10);
	return (long) limit_ms;
}

static bool
is_over(Delivery *delivery)
{
	if (transport_in_flight(delivery->transport) > 0)
		return grace_is_over(delivery);
	return delivery->stopping || batch_queue_is_done(delivery->queue);
}

static void
deliver(Delivery *delivery)
{
	for (;;)
	{
		check_cancel(delivery);

		/*
		 * Before anything is sent: a process that was stopped for a while may
		 * have lost its lease, and learns it here.
		 */
		if (acknowledgement_wait_ms(delivery->group) == 0)
			record_group(delivery);
		send_batches(delivery);

		/* Idle: what is settled need not wait for company. */
		if (acknowledgement_pending(delivery->group) &&
			transport_in_flight(delivery->transport) == 0)
			record_group(delivery);
		if (is_over(delivery))
			break;

		/* Only settled bundles stood in the way, and they are gone now. */
		if (transport_in_flight(delivery->transport) == 0 &&
			sending_wait_ms(delivery, monotonic_ms()) < 0)
			continue;
		transport_wait(delivery->transport, wait_limit(delivery));
		take_answers(delivery);
	}
	give_up_unanswered(delivery);
	if (acknowledgement_pending(delivery->group))
		record_group(delivery);
}

/* What the gate knows outlives this server's memory in the destination's row. */
static void
record_gate(const Delivery *delivery)
{
	int64		open_ms = destination_gate_open_ms(delivery->gate);
	int64		rest_ms = destination_gate_rest_ms(delivery->gate);

	if (open_ms == 0 && rest_ms == 0 &&
		delivery->definition->breaker_open_ms == 0 && delivery->definition->rest_ms == 0)
		return;
	transaction_begin();
	destination_record_gate(delivery->definition->destination_id, open_ms, rest_ms);
	transaction_commit();
}

DeliveryEnd
run_deliver(Delivery *delivery, char **error)
{
	pgstat_report_activity(STATE_RUNNING, "signalsmith: sending");

	/*
	 * A cancelled run has answers to record: the signal ends the loop, not the
	 * process.
	 */
	HOLD_CANCEL_INTERRUPTS();
	deliver(delivery);
	token_renewal_end(delivery);
	RESUME_CANCEL_INTERRUPTS();
	transport_destroy(delivery->transport);
	delivery_wipe_secrets(delivery);
	record_gate(delivery);

	*error = delivery->error;
	return delivery->end;
}

/*
 * answer.c
 *		What follows from the answer to a batch.
 *
 * What an answer means for each record is the connector's word (connector.h);
 * what is done about it is decided here:
 *
 *	ok, gone_ok				acknowledged
 *	rejected				failed; the others of the batch are not touched
 *	key_reused				failed, and said to be our fault
 *	exists, conflict		sent once more, with what a lookup finds
 *	reject_batch, too_large	two halves, until the bad record is alone
 *	retry, unknown			the same bytes and key again, later, up to
 *							max_attempts; then failed, outcome unknown, but
 *							after a 5xx the halves of a batch are tried.  What
 *							is not idempotent is not repeated when it is unknown
 *	throttled, not sent		again, later: the destination's state, so it counts
 *							against no row
 *	auth					sent once more with another access token, where there
 *							is such a thing; else nothing further is sent
 *	fatal					nothing further is sent
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/uuid.h"

#include "base/backoff.h"
#include "run/answer.h"
#include "run/lookup.h"
#include "run/token_renewal.h"

/* So many batches given up in a row: the destination is not well. */
#define GIVEN_UP_IN_A_ROW 10

/* No byte of the request went out: no row has anything to do with it. */
static void
handle_not_sent(Delivery *delivery, PendingBatch *pending, const HttpAnswer *answer)
{
	if (answer->result == HTTP_REFUSED)
		delivery_stop(delivery, DELIVERY_REFUSED, answer->error);
	else if (destination_gate_failed(delivery->gate))
		delivery_stop(delivery, DELIVERY_UNREACHABLE,
					  psprintf("could not reach the destination: %s", answer->error));
	pending->attempts--;
	batch_queue_put_back(delivery->queue, pending, monotonic_ms());
}

const char *
describe_outcome(const Delivery *delivery, const HttpAnswer *answer,
				 const RecordOutcome *outcome)
{
	if (outcome->message)
		return delivery_redact(delivery, outcome->message);
	if (answer->error)
		return answer->error;
	return psprintf("HTTP status %d", answer->status);
}

/* The code is the destination's word too. */
static const char *
describe_code(const Delivery *delivery, const RecordOutcome *outcome)
{
	return outcome->code ? delivery_redact(delivery, outcome->code) : NULL;
}

/*
 * The destination finds that a key came with other bytes than before.  Keys and
 * bytes are planned together, so whoever looks into this needs both.
 */
static const char *
describe_reused_key(const Delivery *delivery, const PendingBatch *pending,
					const HttpAnswer *answer, const RecordOutcome *outcome)
{
	return psprintf("the destination says that idempotency key %s came with other data before: %s;"
					" this is no fault of the record, please report it with the hash of the data,"
					" which is %016llx now and was %016llx at the first attempt",
					DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&pending->batch->id))),
					describe_outcome(delivery, answer, outcome),
					(unsigned long long) pending->hash,
					(unsigned long long) pending->first_hash);
}

/*
 * The record exists, or not in the version that we knew.  Returns 1 when it
 * stays open, to be sent once more.
 */
static int
handle_conflict(Delivery *delivery, PendingBatch *pending, int index,
				const HttpAnswer *answer, const RecordOutcome *outcome)
{
	if (outcome->class == CLASS_EXISTS && delivery->definition->mode == MODE_APPEND)
		delivery_leave_record(delivery, pending, index);
	else if (lookup_repair(delivery, pending, index, outcome))
		return 1;
	else
		delivery_fail_record(delivery, pending, index, false, answer->status,
							 describe_code(delivery, outcome),
							 describe_outcome(delivery, answer, outcome));
	return 0;
}

/* May a batch be sent again whose outcome nobody knows? */
static bool
may_repeat(const Delivery *delivery, const PendingBatch *pending)
{
	return connector_is_idempotent(delivery->connector, pending->operation);
}

/*
 * Acts on the outcome of each record; those to be sent again stay open.
 * Returns how many.
 */
static int
settle_records(Delivery *delivery, PendingBatch *pending, const HttpAnswer *answer,
			   const RecordOutcome *outcomes, bool give_up)
{
	int			open = 0;

	for (int i = 0; i < pending->count; i++)
	{
		const RecordOutcome *outcome = &outcomes[i];

		switch (outcome->class)
		{
			case CLASS_OK:
			case CLASS_GONE_OK:
				delivery_acknowledge_record(delivery, pending, i,
											pending->operation, outcome);
				delivery->given_up_in_a_row = 0;
				break;
			case CLASS_REJECTED:
			case CLASS_REJECT_BATCH:
			case CLASS_TOO_LARGE:
				delivery_fail_record(delivery, pending, i, false, answer->status,
									 describe_code(delivery, outcome),
									 describe_outcome(delivery, answer, outcome));
				break;
			case CLASS_KEY_REUSED:
				delivery_fail_record(delivery, pending, i, false, answer->status,
									 "idempotency_key_reused",
									 describe_reused_key(delivery, pending, answer, outcome));
				break;
			case CLASS_EXISTS:
			case CLASS_CONFLICT:
				open += handle_conflict(delivery, pending, i, answer, outcome);
				break;
			case CLASS_RETRY:
			case CLASS_UNKNOWN:
				if (give_up ||
					(outcome->class == CLASS_UNKNOWN && !may_repeat(delivery, pending)))
					delivery_fail_record(delivery, pending, i, !outcome->undone, answer->status,
									  describe_code(delivery, outcome),
									  describe_outcome(delivery, answer, outcome));
				else
				{
					pending->ambiguous |= !outcome->undone;
					open++;
				}
				break;
			case CLASS_THROTTLED:
			case CLASS_AUTH:
			case CLASS_FATAL:
				open++;
				break;
		}
	}
	return open;
}

bool
outcomes_are(const RecordOutcome *outcomes, int count, OutcomeClass class,
			 OutcomeClass or_class)
{
	for (int i = 0; i < count; i++)
		if (outcomes[i].class != class && outcomes[i].class != or_class)
			return false;
	return true;
}

static const RecordOutcome *
find_class(const RecordOutcome *outcomes, int count, OutcomeClass class)
{
	for (int i = 0; i < count; i++)
		if (outcomes[i].class == class)
			return &outcomes[i];
	return NULL;
}

/* A batch waits for so long; if that is too long, there may be no other to learn it. */
static void
pause_sending(Delivery *delivery, int64 delay_ms)
{
	destination_gate_pause(delivery->gate, delay_ms);
	if (destination_gate_rest_ms(delivery->gate) > 0)
		delivery_wait_for_gate(delivery, GATE_LOOK_MS);
}

/* An answer that says something of the destination, beyond the batch. */
static void
heed_destination(Delivery *delivery, PendingBatch *pending, const HttpAnswer *answer,
				 const RecordOutcome *outcomes, int64 delay_ms)
{
	const RecordOutcome *outcome;

	if ((outcome = find_class(outcomes, pending->count, CLASS_AUTH)) == NULL)
		token_accepted(delivery, pending);
	else if (token_renew(delivery, pending))
		pending->attempts--;
	else
		delivery_stop(delivery, DELIVERY_REFUSED,
					  psprintf("the destination refuses the credentials: %s",
							   describe_outcome(delivery, answer, outcome)));
	if ((outcome = find_class(outcomes, pending->count, CLASS_FATAL)) != NULL)
		delivery_stop(delivery, DELIVERY_REFUSED,
					  psprintf("the destination refuses this sync: %s",
							   describe_outcome(delivery, answer, outcome)));
	if (find_class(outcomes, pending->count, CLASS_THROTTLED) != NULL)
	{
		pause_sending(delivery, delay_ms);
		pending->attempts--;
	}
}

static void
count_given_up(Delivery *delivery, const PendingBatch *pending, const HttpAnswer *answer)
{
	if (++delivery->given_up_in_a_row >= GIVEN_UP_IN_A_ROW)
		delivery_stop(delivery, DELIVERY_UNREACHABLE,
					  psprintf("%d batches in a row failed, the last at attempt %d: %s",
							   delivery->given_up_in_a_row, pending->attempts,
							   answer->error ? answer->error :
							   psprintf("HTTP status %d", answer->status)));
}

int64
attribute_answer(Delivery *delivery, PendingBatch *pending, const HttpAnswer *answer,
				 RecordOutcome *outcomes)
{
	int64		retry_after_ms;
	int64		exhausted_ms;
	int64		delay_ms;

	if (answer->result == HTTP_ANSWERED)
		destination_gate_succeeded(delivery->gate);
	connector_attribute(delivery->connector, pending->batch, answer, outcomes,
						&retry_after_ms);
	delay_ms = Max(backoff_delay_ms(pending->attempts),
				   Min(retry_after_ms, RETRY_AFTER_CAP_MS));
	heed_destination(delivery, pending, answer, outcomes, delay_ms);
	exhausted_ms = connector_exhausted_ms(delivery->connector, answer);
	if (exhausted_ms > 0)
		destination_gate_pause(delivery->gate, Min(exhausted_ms, RETRY_AFTER_CAP_MS));
	return delay_ms;
}

/*
 * An API that stumbles over one bad record of a batch says no more than 500.
 * When repeating has not helped, its halves are tried once each, until the
 * record is alone.
 */
static bool
may_be_one_record(const Delivery *delivery, const PendingBatch *pending,
				  const HttpAnswer *answer, const RecordOutcome *outcomes)
{
	return pending->count > 1 && answer->status >= 500 && may_repeat(delivery, pending) &&
		outcomes_are(outcomes, pending->count, CLASS_RETRY, CLASS_RETRY);
}

static void
try_halves(Delivery *delivery, PendingBatch *pending, const HttpAnswer *answer)
{
	count_given_up(delivery, pending, answer);
	pending->attempts = delivery->definition->max_attempts - 1;
	pending->ambiguous = true;
	batch_queue_cut(delivery->queue, pending, pending->count / 2);
}

static void
act_on_outcomes(Delivery *delivery, PendingBatch *pending, const HttpAnswer *answer,
				const RecordOutcome *outcomes, int64 not_before_ms)
{
	bool		give_up = pending->attempts >= delivery->definition->max_attempts;
	bool		given_up;
	int			open;

	if (pending->count > 1 &&
		outcomes_are(outcomes, pending->count, CLASS_REJECT_BATCH, CLASS_TOO_LARGE))
	{
		batch_queue_split(delivery->queue, pending);
		return;
	}
	if (give_up && may_be_one_record(delivery, pending, answer, outcomes))
	{
		try_halves(delivery, pending, answer);
		return;
	}
	if (outcomes_are(outcomes, pending->count, CLASS_EXISTS, CLASS_CONFLICT) ||
		find_class(outcomes, pending->count, CLASS_AUTH) != NULL)
		not_before_ms = 0;		/* nothing is to be waited for */

	given_up = give_up || (!may_repeat(delivery, pending) &&
						   find_class(outcomes, pending->count, CLASS_UNKNOWN) != NULL);
	open = settle_records(delivery, pending, answer, outcomes, give_up);
	if (open < pending->count)
	{
		if (given_up && find_class(outcomes, pending->count, CLASS_OK) == NULL)
			count_given_up(delivery, pending, answer);
		batch_queue_done(delivery->queue, pending, not_before_ms);
	}
	else
		batch_queue_put_back(delivery->queue, pending, not_before_ms);
}

static void
handle_answered(Delivery *delivery, PendingBatch *pending, const HttpAnswer *answer)
{
	RecordOutcome *outcomes = palloc0(pending->count * sizeof(RecordOutcome));
	int64		delay_ms = attribute_answer(delivery, pending, answer, outcomes);

	act_on_outcomes(delivery, pending, answer, outcomes, monotonic_ms() + delay_ms);
}

void
delivery_handle_outcome(Delivery *delivery, PendingBatch *pending,
						const RecordOutcome *outcome)
{
	RecordOutcome *outcomes = palloc(pending->count * sizeof(RecordOutcome));
	HttpAnswer	no_answer = {.error = unconstify(char *, outcome->message)};
	int64		delay_ms = backoff_delay_ms(pending->attempts);

	for (int i = 0; i < pending->count; i++)
		outcomes[i] = *outcome;
	destination_gate_succeeded(delivery->gate);
	heed_destination(delivery, pending, &no_answer, outcomes, delay_ms);
	act_on_outcomes(delivery, pending, &no_answer, outcomes, monotonic_ms() + delay_ms);
}

void
delivery_handle_answer(Delivery *delivery, PendingBatch *pending,
					   const HttpAnswer *answer)
{
	if (answer->result == HTTP_NOT_SENT || answer->result == HTTP_REFUSED)
		handle_not_sent(delivery, pending, answer);
	else if (pending->records != NULL)
		lookup_handle_answer(delivery, pending, answer);
	else
		handle_answered(delivery, pending, answer);
}

/*
 * delivery_state.c
 *		What the parts of a delivery share.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/backoff.h"
#include "base/vault.h"
#include "http/redact.h"
#include "run/delivery_state.h"

void
delivery_stop(Delivery *delivery, DeliveryEnd end, const char *error)
{
	if (delivery->stopping)
		return;
	delivery->stopping = true;
	delivery->end = end;
	delivery->error = MemoryContextStrdup(delivery->context, error);
}

void
delivery_wait_for_gate(Delivery *delivery, int64 wait_ms)
{
	int64		rest_ms = destination_gate_rest_ms(delivery->gate);

	delivery->gate_opens_ms = monotonic_ms() + wait_ms;
	if (rest_ms > 0)
		delivery_stop(delivery, DELIVERY_POSTPONED,
					  psprintf("the destination asks to be left alone until %s",
							   timestamptz_to_str(GetCurrentTimestamp() + rest_ms * 1000)));
}

void
delivery_acknowledge_record(Delivery *delivery, PendingBatch *pending, int index,
							Operation operation, const RecordOutcome *outcome)
{
	Record	   *record;
	int			number = pending_record(pending, index);

	record = &pending->loaded->bundle->records[number];
	if (outcome != NULL && outcome->id.length > 0)
		record->id = outcome->id;
	if (outcome != NULL && outcome->version.length > 0)
		record->version = outcome->version;
	acknowledge_record(delivery->group, pending->loaded->bundle, number, operation);
	loaded_bundle_settled(pending->loaded, 1);
}

void
delivery_leave_record(Delivery *delivery, PendingBatch *pending, int index)
{
	leave_record(delivery->group, pending->loaded->bundle, pending_record(pending, index));
	loaded_bundle_settled(pending->loaded, 1);
}

void
delivery_skip_record(Delivery *delivery, PendingBatch *pending, int index)
{
	skip_record(delivery->group, pending->loaded->bundle, pending_record(pending, index));
	loaded_bundle_settled(pending->loaded, 1);
}

void
delivery_fail_record(Delivery *delivery, PendingBatch *pending, int index,
					 bool unknown, int status, const char *code,
					 const char *message)
{
	fail_record(delivery->group, pending->loaded->bundle,
				pending_record(pending, index), unknown, pending->attempts,
				status, code, message);
	loaded_bundle_settled(pending->loaded, 1);
}

/* The oldest makes room: by then its last answer has come. */
void
delivery_add_secret(Delivery *delivery, const char *value)
{
	DeliverySecrets *secrets = &delivery->secrets;
	char	  **late = &secrets->values[secrets->count + secrets->next_late];

	if (*late != NULL)
	{
		vault_wipe(*late);
		pfree(*late);
	}
	*late = MemoryContextStrdup(delivery->context, value);
	secrets->next_late = (secrets->next_late + 1) % LATE_SECRETS;
}

char *
delivery_redact(const Delivery *delivery, const char *text)
{
	const DeliverySecrets *secrets = &delivery->secrets;
	int			count = secrets->count;

	while (count < secrets->count + LATE_SECRETS && secrets->values[count] != NULL)
		count++;
	return redact_text(text, (const char *const *) secrets->values, count);
}

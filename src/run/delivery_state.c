/*
 * delivery_state.c
 *		What the parts of a delivery share.
 */
#include "postgres.h"

#include "utils/memutils.h"

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
delivery_fail_record(Delivery *delivery, PendingBatch *pending, int index,
					 bool unknown, int status, const char *code,
					 const char *message)
{
	fail_record(delivery->group, pending->loaded->bundle,
				pending_record(pending, index), unknown, pending->attempts,
				status, code, message);
	loaded_bundle_settled(pending->loaded, 1);
}

char *
delivery_redact(const Delivery *delivery, const char *text)
{
	return redact_text(text, (const char *const *) delivery->secrets.values,
					   delivery->secrets.count);
}

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
delivery_fail_record(Delivery *delivery, PendingBatch *pending, int index,
					 bool unknown, int status, const char *code,
					 const char *message)
{
	fail_record(delivery->group, pending->loaded->bundle, pending->first + index,
				unknown, pending->attempts, status, code, message);
	loaded_bundle_settled(pending->loaded, 1);
}

char *
delivery_redact(const Delivery *delivery, const char *text)
{
	return redact_text(text, (const char *const *) delivery->secrets.values,
					   delivery->secrets.count);
}

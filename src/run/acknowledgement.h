/*
 * acknowledgement.h
 *		What answers have settled, recorded in groups.
 *
 * A group is one short transaction: the figures and the lease, the segment of
 * what is now known of the destination, the rows that failed, the outcomes in
 * the outbox.  All of it commits or none does, so the snapshot never knows more
 * than what was confirmed.
 */
#ifndef SIGNALSMITH_ACKNOWLEDGEMENT_H
#define SIGNALSMITH_ACKNOWLEDGEMENT_H

#include "postgres.h"

#include "store/outbox.h"
#include "store/row_failure.h"
#include "store/run_record.h"

typedef struct AcknowledgementGroup AcknowledgementGroup;

/* Lives in CurrentMemoryContext. */
extern AcknowledgementGroup *acknowledgement_group_create(const RunClaim *claim,
														  int key_width,
														  bool with_identities,
														  bool supersedes);

/*
 * A record is settled: confirmed by the destination, as that operation; left as
 * the destination has it; skipped, since it has none; or failed.  Its id and version are taken at once.  A
 * bundle stays the caller's and must live until the group is recorded.
 */
extern void acknowledge_record(AcknowledgementGroup *group, Bundle *bundle, int index,
							   Operation operation);
extern void leave_record(AcknowledgementGroup *group, Bundle *bundle, int index);
extern void skip_record(AcknowledgementGroup *group, Bundle *bundle, int index);
extern void fail_record(AcknowledgementGroup *group, Bundle *bundle, int index,
						bool unknown, int attempts, int http_status,
						const char *code, const char *message);

/* A request went out, at least in part: how often, its body, how long it took. */
extern void acknowledgement_count_request(AcknowledgementGroup *group, int requests,
										  int64 bytes, int64 microseconds,
										  bool new_batch);

/*
 * Milliseconds until the group should be recorded; 0: now.  An empty group is
 * recorded now and then, too, as a sign of life.
 */
extern int64 acknowledgement_wait_ms(const AcknowledgementGroup *group);

/* Is there anything in it? */
extern bool acknowledgement_pending(const AcknowledgementGroup *group);

/*
 * Records the group in a transaction of its own.  Raises
 * ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE when the lease is lost.
 */
extern void acknowledgement_record(AcknowledgementGroup *group);

/*
 * The same in the caller's transaction, for what was done in it: afterwards the
 * caller says what became of the transaction.  A discarded group is empty; the
 * outcomes of its bundles are the caller's to set back.
 */
extern void acknowledgement_write(AcknowledgementGroup *group);
extern void acknowledgement_written(AcknowledgementGroup *group);
extern void acknowledgement_discard(AcknowledgementGroup *group);

/*
 * How long each sign of life has to last, in seconds: longer than usual where the
 * process cannot give one for a while.
 */
extern void acknowledgement_lease(AcknowledgementGroup *group, int seconds);

#endif							/* SIGNALSMITH_ACKNOWLEDGEMENT_H */

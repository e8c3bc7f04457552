/*
 * snapshot.h
 *		What a destination is known to hold, as packed segments.
 *
 * A snapshot is a log: each group of acknowledged records becomes one segment
 * by one insert; where two segments know a key, the later one counts.  Segments
 * are merged when there are too many or too much in them is superseded.
 */
#ifndef SIGNALSMITH_SNAPSHOT_H
#define SIGNALSMITH_SNAPSHOT_H

#include "postgres.h"

#include "base/types.h"

/* A segment as read; arrays are native-endian and properly aligned. */
typedef struct Segment
{
	int64		id;
	int			count;
	bool		supersedes;
	int			key_width;
	const char *keys;			/* count * key_width bytes */
	const uint64 *hashes;
} Segment;

static inline RecordKey
segment_key(const Segment *segment, int index)
{
	RecordKey	key = {0, 0};

	memcpy(&key, segment->keys + (Size) index * segment->key_width, segment->key_width);
	return key;
}

typedef struct SegmentScan SegmentScan;

/*
 * Reads the segments of a sync, oldest first and with ascending ids, from the
 * one with that id on, as the active snapshot sees them.  Identities
 * (all of a Record but its data) are not read here.  Needs no scope.
 *
 * The next segment is valid until the one after it is asked for.  Without
 * entries, keys and hashes are NULL, and reading costs next to nothing.  A
 * damaged segment is an error, ERRCODE_DATA_CORRUPTED.
 */
extern SegmentScan *segment_scan_begin(int64 sync_id, int64 first_id);
extern Segment *segment_scan_next(SegmentScan *scan);
extern Segment *segment_scan_next_header(SegmentScan *scan);

/* The entries of the segment that segment_scan_next_header has come to. */
extern void segment_scan_read_entries(SegmentScan *scan);
extern void segment_scan_end(SegmentScan *scan);

/*
 * Reads the identities of single entries, for those that need them, as the active
 * snapshot sees them.  Segments are kept as long as they fit into a part of signalsmith.diff_mem, so it helps
 * to ask in their order, but does not matter with a small snapshot.
 */
typedef struct IdentityReader IdentityReader;

extern IdentityReader *identity_reader_create(int64 sync_id);

/*
 * The identity of the entry with that index (from 0) in its segment, valid until
 * another one is asked for; its data is empty.  False when none is stored.
 */
extern bool segment_read_identity(IdentityReader *reader, int64 segment_id, int index,
								  Record *identity);
extern void identity_reader_free(IdentityReader *reader);

/*
 * A group of records that a destination has acknowledged, or whose outcome is
 * unknown (hash ROW_HASH_UNKNOWN), collected until it is written as one
 * segment.  Lives in the memory context that was current at its creation.
 */
typedef struct SegmentBuilder SegmentBuilder;

/* Whether identities are stored is the plan's choice: see plan/identity. */
extern SegmentBuilder *segment_builder_create(int64 sync_id, int key_width,
											  bool with_identities);

/*
 * Adds a record; its identity is copied, its data of no interest.  "supersedes": earlier segments may
 * know the key too, be it as deleted.  Clearing forgets all that were added.
 */
extern void segment_builder_add(SegmentBuilder *builder, RecordKey key,
								uint64 hash, const Record *identity,
								bool supersedes);
extern void segment_builder_clear(SegmentBuilder *builder);
extern int	segment_builder_count(const SegmentBuilder *builder);

/*
 * Inserts the records, if there are any, as one segment, or several when they
 * are very many, and empties the builder.  Runs in the caller's transaction,
 * inside a scope (store/scope.h).
 */
extern void segment_builder_flush(SegmentBuilder *builder);

/*
 * Merges the segments of a sync when it pays.  Called in a transaction of its
 * own, when nobody else writes segments of this sync: by the runner that holds
 * the run's lease.  Readers go on undisturbed.
 */
extern void snapshot_merge_if_due(int64 sync_id);

#endif							/* SIGNALSMITH_SNAPSHOT_H */

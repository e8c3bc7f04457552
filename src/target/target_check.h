/*
 * target_check.h
 *		Whether a sync can write what it maps to its table, as its owner.
 */
#ifndef SIGNALSMITH_TARGET_CHECK_H
#define SIGNALSMITH_TARGET_CHECK_H

#include "postgres.h"

#include "connector/connector.h"
#include "store/definition.h"

/*
 * Raises what is wrong with the table, the mappings, or the owner's rights, with
 * the way out; asked when a sync is saved, and before each of its runs.  Runs
 * nothing of anybody's.
 */
extern void target_check(const TableSpec *spec, const SyncDefinition *definition);

#endif							/* SIGNALSMITH_TARGET_CHECK_H */

/*
 * identity.h
 *		Key and identifier of a record that the model no longer returns.
 */
#ifndef SIGNALSMITH_IDENTITY_H
#define SIGNALSMITH_IDENTITY_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/types.h"
#include "store/definition.h"

/*
 * Whether the packed key holds the key itself, so that the key's JSON object
 * can be had from it.
 */
extern bool identity_key_is_exact(const SyncDefinition *definition);

/*
 * Appends an exact key as an object of its column, or as a bare value.
 */
extern void identity_append_key(const SyncDefinition *definition, RecordKey key,
								StringInfo out);
extern void identity_append_value(const SyncDefinition *definition,
								  RecordKey key, StringInfo out);

#endif							/* SIGNALSMITH_IDENTITY_H */

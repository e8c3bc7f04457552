/*
 * call.h
 *		How users reach what they may not touch.
 */
#ifndef SIGNALSMITH_CALL_H
#define SIGNALSMITH_CALL_H

#include "postgres.h"

/*
 * The number of what the current user means by a name or id; "kind" is "model",
 * "destination", "sync" or "run".  Raises ERRCODE_UNDEFINED_OBJECT when there is
 * none that he may see, ERRCODE_INSUFFICIENT_PRIVILEGE when he may not manage
 * it and has to.
 */
extern int64 find_for_caller(const char *kind, const char *ref, bool manage);

#endif							/* SIGNALSMITH_CALL_H */

/*
 * nearest.h
 *		The valid name that a wrong one was probably meant to be.
 */
#ifndef SIGNALSMITH_NEAREST_H
#define SIGNALSMITH_NEAREST_H

#include "postgres.h"

/*
 * Returns the candidate that is closest to a name, or NULL when none is close
 * enough to be worth mentioning.
 */
extern const char *nearest_name(const char *name, const char *const *candidates,
								int count);

#endif							/* SIGNALSMITH_NEAREST_H */

/*
 * xxh3.h
 *		XXH3, inlined: the hash of rows and of keys that are no numbers.
 *
 * Header only, so that there is no library to depend on at run time.  The
 * algorithm is frozen since xxHash 0.8.0, so hashes may be stored.
 */
#ifndef SIGNALSMITH_XXH3_H
#define SIGNALSMITH_XXH3_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#endif							/* SIGNALSMITH_XXH3_H */

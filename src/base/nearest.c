/*
 * nearest.c
 *		The valid name that a wrong one was probably meant to be.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/varlena.h"

#include "base/nearest.h"

/* What levenshtein distances are computed for. */
#define NEAREST_MAX_LENGTH 255

const char *
nearest_name(const char *name, const char *const *candidates, int count)
{
	int			length = strlen(name);
	int			limit = length / 2 + 1; /* more changes are another word */
	const char *nearest = NULL;

	if (length == 0 || length > NEAREST_MAX_LENGTH)
		return NULL;

	for (int i = 0; i < count; i++)
	{
		int			candidate_length = strlen(candidates[i]);
		int			distance;

		if (candidate_length > NEAREST_MAX_LENGTH)
			continue;
		if (pg_strcasecmp(name, candidates[i]) == 0)
			return candidates[i];
		distance = varstr_levenshtein_less_equal(name, length,
												 candidates[i], candidate_length,
												 1, 1, 1, limit, true);
		if (distance < limit)
		{
			limit = distance;
			nearest = candidates[i];
		}
	}
	return nearest;
}

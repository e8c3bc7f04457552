/*
 * fuzz_retry_after.c
 *		Retry-After, in all its forms.
 */
#include "postgres.h"

#include <time.h>

#include "base/retry_after.h"

#include "harness.h"

/* A date that we write is read as what it says. */
static void
check_date(int64_t epoch)
{
	static const char *const forms[] = {
		"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"
	};
	time_t		time = (time_t) (epoch % INT64_C(3155760000));
	struct tm	fields;
	char		date[100];

	if (time < 0)
		time = -time;
	gmtime_r(&time, &fields);
	for (int i = 0; i < (int) lengthof(forms); i++)
	{
		if (i == 1 && (fields.tm_year + 1900 < 1970 || fields.tm_year + 1900 > 2069))
			continue;			/* two digits say another century */
		strftime(date, sizeof(date), forms[i], &fields);
		must(retry_after_parse(date, strlen(date), 0) == (int64_t) time * 1000);
	}
}

void
fuzz_retry_after(const char *data, size_t length)
{
	int64_t		epoch = 0;

	must(retry_after_parse(data, length, 0) >= -1);
	must(retry_after_parse(data, length, INT64_C(1700000000)) >= -1);
	memcpy(&epoch, data, Min(length, sizeof(epoch)));
	check_date(epoch);
}

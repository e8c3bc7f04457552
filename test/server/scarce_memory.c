/*
 * scarce_memory.c
 *		Lets libcurl run out of memory: preloaded into a server, it makes every nth
 *		of libcurl's allocations fail, n being SIGNALSMITH_TEST_FAIL_EVERY.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

static bool
is_scarce(void)
{
	static int	every;
	static int	count;

	if (every == 0)
		every = atoi(getenv("SIGNALSMITH_TEST_FAIL_EVERY"));
	return ++count % every == 0;
}

static void *
scarce_malloc(size_t size)
{
	return is_scarce() ? NULL : malloc(size);
}

static void *
scarce_realloc(void *memory, size_t size)
{
	return is_scarce() ? NULL : realloc(memory, size);
}

static char *
scarce_strdup(const char *text)
{
	return is_scarce() ? NULL : strdup(text);
}

static void *
scarce_calloc(size_t count, size_t size)
{
	return is_scarce() ? NULL : calloc(count, size);
}

CURLcode
curl_global_init(long flags)
{
	return curl_global_init_mem(flags, scarce_malloc, free, scarce_realloc, scarce_strdup,
								scarce_calloc);
}

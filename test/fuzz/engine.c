/*
 * engine.c
 *		The program that libFuzzer drives: fuzz TARGET [libFuzzer's arguments].
 *
 * Loads, from its own directory, the server's code and the library of targets,
 * which uses it; then hands each input to the target of that name.
 */
#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json_mutator.h"

typedef void (*Target) (const char *data, size_t length);

static Target target;
static int	takes_json;

/* libFuzzer's own mutations, and what it calls for ours. */
extern size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
extern int	LLVMFuzzerInitialize(int *argc, char ***argv);
extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
									  unsigned int seed);
extern size_t LLVMFuzzerCustomCrossOver(const uint8_t *first, size_t first_size,
										const uint8_t *second, size_t second_size,
										uint8_t *out, size_t max_size, unsigned int seed);

static void *
load(const char *directory, const char *name, int flags)
{
	char		path[PATH_MAX];
	void	   *library;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	library = dlopen(path, flags);
	if (library == NULL)
	{
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	return library;
}

static void
usage(void)
{
	fprintf(stderr, "usage: fuzz TARGET [libFuzzer's arguments]; test/fuzz/run knows the targets\n");
	exit(1);
}

/* The first argument is ours. */
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	Target		(*find_target) (const char *name, int *takes_json);
	char		self[PATH_MAX];
	ssize_t		length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *directory;

	if (*argc < 2 || length < 0)
		usage();
	self[length] = '\0';
	directory = dirname(self);
	load(directory, "postgres.so", RTLD_LAZY | RTLD_GLOBAL);
	find_target = (Target(*) (const char *, int *))
		dlsym(load(directory, "targets.so", RTLD_LAZY), "find_target");
	target = find_target((*argv)[1], &takes_json);
	if (target == NULL)
		usage();
	memmove(*argv + 1, *argv + 2, (*argc - 1) * sizeof(char *));
	(*argc)--;
	return 0;
}

/* A copy of the exact size, so that a byte beyond the end is one too many. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *copy = malloc(size);

	memcpy(copy, data, size);
	target(copy, size);
	free(copy);
	return 0;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	size_t		result = 0;

	if (takes_json && seed % 8 != 0)
		result = json_mutate((char *) data, size, max_size, seed);
	return result > 0 ? result : LLVMFuzzerMutate(data, size, max_size);
}

size_t
LLVMFuzzerCustomCrossOver(const uint8_t *first, size_t first_size,
						  const uint8_t *second, size_t second_size,
						  uint8_t *out, size_t max_size, unsigned int seed)
{
	if (takes_json)
		return json_cross((const char *) first, first_size, (const char *) second,
						  second_size, (char *) out, max_size, seed);
	return 0;
}

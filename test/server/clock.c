/*
 * clock.c
 *		A clock that tests can set: preloaded into a server, it adds the seconds in
 *		the file SIGNALSMITH_TEST_CLOCK to the time of day.
 *
 * libfaketime is no help here: up to PostgreSQL 15 background workers are forked
 * in a signal handler that interrupts select(), where it does not fake anything,
 * and its children inherit that.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long
offset(void)
{
	char		text[32] = "0";
	const char *path = getenv("SIGNALSMITH_TEST_CLOCK");
	int			file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (file >= 0)
	{
		ssize_t		length = read(file, text, sizeof(text) - 1);

		text[length > 0 ? length : 0] = '\0';
		close(file);
	}
	return atol(text);
}

int
clock_gettime(clockid_t clock, struct timespec *time)
{
	static int	(*real) (clockid_t, struct timespec *);
	int			result;

	if (real == NULL)
		real = (int (*) (clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
	result = real(clock, time);
	if (clock == CLOCK_REALTIME)
		time->tv_sec += offset();
	return result;
}

int
gettimeofday(struct timeval *time, void *zone)
{
	struct timespec now;
	int			result = clock_gettime(CLOCK_REALTIME, &now);

	time->tv_sec = now.tv_sec;
	time->tv_usec = now.tv_nsec / 1000;
	return result;
}

time_t
time(time_t *result)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (result)
		*result = now.tv_sec;
	return now.tv_sec;
}

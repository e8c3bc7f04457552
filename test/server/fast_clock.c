/*
 * fast_clock.c
 *		Lets time fly: preloaded into a server, it makes the monotonic clock run
 *		SIGNALSMITH_TEST_SPEED times as fast, and waits as much shorter.
 *
 * Pauses, backoff and limits go by that clock.  The time of day, by which leases
 * and schedules go, is left alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>

static int
speed(void)
{
	static int	value;

	if (value == 0)
		value = atoi(getenv("SIGNALSMITH_TEST_SPEED"));
	return value;
}

int
clock_gettime(clockid_t clock, struct timespec *time)
{
	static int	(*real) (clockid_t, struct timespec *);
	int			result;

	if (real == NULL)
		real = (int (*) (clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
	result = real(clock, time);
	if (clock == CLOCK_MONOTONIC)
	{
		int64_t		nanoseconds = time->tv_nsec * (int64_t) speed();

		time->tv_sec = time->tv_sec * speed() + nanoseconds / 1000000000;
		time->tv_nsec = nanoseconds % 1000000000;
	}
	return result;
}

int
epoll_wait(int epoll, struct epoll_event *events, int count, int timeout)
{
	static int	(*real) (int, struct epoll_event *, int, int);

	if (real == NULL)
		real = (int (*) (int, struct epoll_event *, int, int)) dlsym(RTLD_NEXT, "epoll_wait");
	return real(epoll, events, count, timeout > 0 ? (timeout + speed() - 1) / speed() : timeout);
}

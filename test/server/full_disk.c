/*
 * full_disk.c
 *		A disk that tests can fill: preloaded into a server, it lets no data file
 *		grow while the file SIGNALSMITH_TEST_FULL_DISK exists.
 *
 * The write-ahead log has a disk of its own, so to speak: without it no server goes
 * on.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int
is_full(int file, off_t end)
{
	const char *flag = getenv("SIGNALSMITH_TEST_FULL_DISK");
	char		link[64];
	char		path[4096];
	ssize_t		length;
	struct stat status;

	if (flag == NULL || access(flag, F_OK) != 0)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
	length = readlink(link, path, sizeof(path) - 1);
	if (length < 0)
		return 0;
	path[length] = '\0';
	return strstr(path, "/base/") != NULL &&
		fstat(file, &status) == 0 && end > status.st_size;
}

#define REAL(type, name) \
	static type real = NULL; \
	if (real == NULL) \
		real = (type) dlsym(RTLD_NEXT, name)

typedef ssize_t (*write_function) (int, const void *, size_t, off_t);
typedef ssize_t (*vector_function) (int, const struct iovec *, int, off_t);
typedef int (*allocate_function) (int, off_t, off_t);

ssize_t
pwrite(int file, const void *data, size_t size, off_t offset)
{
	REAL(write_function, "pwrite");
	if (is_full(file, offset + size))
	{
		errno = ENOSPC;
		return -1;
	}
	return real(file, data, size, offset);
}

ssize_t
pwrite64(int file, const void *data, size_t size, off_t offset)
{
	return pwrite(file, data, size, offset);
}

ssize_t
pwritev(int file, const struct iovec *parts, int count, off_t offset)
{
	off_t		end = offset;

	REAL(vector_function, "pwritev");
	for (int i = 0; i < count; i++)
		end += parts[i].iov_len;
	if (is_full(file, end))
	{
		errno = ENOSPC;
		return -1;
	}
	return real(file, parts, count, offset);
}

ssize_t
pwritev64(int file, const struct iovec *parts, int count, off_t offset)
{
	return pwritev(file, parts, count, offset);
}

int
posix_fallocate(int file, off_t offset, off_t size)
{
	REAL(allocate_function, "posix_fallocate");
	return is_full(file, offset + size) ? ENOSPC : real(file, offset, size);
}

int
posix_fallocate64(int file, off_t offset, off_t size)
{
	return posix_fallocate(file, offset, size);
}

/*
 * A name server for one test: preloaded into the server, it answers for names
 * that end in ".test" and refuses what would leave the machine.
 *
 *	two.test		one public address, which refuses, and 127.0.0.1
 *	private.test	127.0.0.1
 *	turns.test		the public address the first time, which the file says that
 *					RESOLVER_TURNED names, then 127.0.0.1
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PUBLIC_ADDRESS "9.9.9.9"

static struct addrinfo *
make_address(const char *text, const char *service, struct addrinfo *next)
{
	struct sockaddr_in *address = calloc(1, sizeof(struct sockaddr_in));
	struct addrinfo *info = calloc(1, sizeof(struct addrinfo));

	address->sin_family = AF_INET;
	address->sin_port = htons(service ? (unsigned short) atoi(service) : 0);
	inet_pton(AF_INET, text, &address->sin_addr);
	info->ai_family = AF_INET;
	info->ai_socktype = SOCK_STREAM;
	info->ai_protocol = IPPROTO_TCP;
	info->ai_addrlen = sizeof(struct sockaddr_in);
	info->ai_addr = (struct sockaddr *) address;
	info->ai_next = next;
	return info;
}

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
			struct addrinfo **result)
{
	int			(*real) (const char *, const char *, const struct addrinfo *, struct addrinfo **) =
		dlsym(RTLD_NEXT, "getaddrinfo");

	if (node != NULL && strcmp(node, "two.test") == 0)
		*result = make_address(PUBLIC_ADDRESS, service,
							   make_address("127.0.0.1", service, NULL));
	else if (node != NULL && strcmp(node, "private.test") == 0)
		*result = make_address("127.0.0.1", service, NULL);
	else if (node != NULL && strcmp(node, "turns.test") == 0)
	{
		int			fd = open(getenv("RESOLVER_TURNED"), O_CREAT | O_EXCL, 0600);

		*result = make_address(fd >= 0 ? PUBLIC_ADDRESS : "127.0.0.1", service, NULL);
		if (fd >= 0)
			close(fd);
	}
	else
		return real(node, service, hints, result);
	return 0;
}

/* Ours are not freed: they are few, and the real one frees only its own. */
void
freeaddrinfo(struct addrinfo *list)
{
	void		(*real) (struct addrinfo *) = dlsym(RTLD_NEXT, "freeaddrinfo");

	if (list == NULL || list->ai_canonname != NULL || list->ai_flags != 0)
		real(list);
}

int
connect(int fd, const struct sockaddr *address, socklen_t length)
{
	int			(*real) (int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");

	if (address->sa_family == AF_INET &&
		((const struct sockaddr_in *) address)->sin_addr.s_addr == inet_addr(PUBLIC_ADDRESS))
	{
		errno = ECONNREFUSED;
		return -1;
	}
	return real(fd, address, length);
}

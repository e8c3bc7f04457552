/*
 * socket_set.c
 *		The sockets of a transport's connections, and libcurl's timer.
 *
 * libcurl's multi interface tells us, by callbacks, which sockets to watch and
 * when to come back.  The sockets go into one epoll descriptor, since a
 * WaitEventSet cannot forget a socket.  Each is opened here, as one of the
 * external descriptors that the server counts, after its address was found to
 * be one that requests may go to.
 *
 * It sends nothing and waits for nothing: that is transport.c's.
 */
#include "postgres.h"

#include <sys/epoll.h>
#include <unistd.h>

#include "storage/fd.h"

#include "base/backoff.h"
#include "http/egress.h"
#include "http/transport_internal.h"

void
open_epoll(Transport *transport)
{
	if (!AcquireExternalFD())
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open a descriptor for the HTTP client: %m")));
	transport->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (transport->epoll_fd < 0)
	{
		int			save_errno = errno;

		ReleaseExternalFD();
		errno = save_errno;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open a descriptor for the HTTP client: %m")));
	}
}

/* --- what libcurl calls: nothing here may raise --- */

/* Makes room for a descriptor's element and clears it. */
static bool
add_connection(Transport *transport, int fd)
{
	if (fd >= transport->socket_count)
	{
		int			count = Max(fd + 1, transport->socket_count * 2);
		WatchedSocket *grown = realloc(transport->sockets, count * sizeof(WatchedSocket));

		if (grown == NULL)
			return false;
		memset(grown + transport->socket_count, 0,
			   (count - transport->socket_count) * sizeof(WatchedSocket));
		transport->sockets = grown;
		transport->socket_count = count;
	}
	memset(&transport->sockets[fd], 0, sizeof(WatchedSocket));
	transport->sockets[fd].is_connection = true;
	return true;
}

/* The element of a connection's socket; NULL for what else libcurl watches. */
static WatchedSocket *
find_connection(Transport *transport, int fd)
{
	if (fd < transport->socket_count && transport->sockets[fd].is_connection)
		return &transport->sockets[fd];
	return NULL;
}

curl_socket_t
on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	Transfer   *transfer = arg;
	int			fd;

	if (!egress_address_allowed(&address->addr))
	{
		transfer->address_refused = true;
		return CURL_SOCKET_BAD;
	}
	if (!AcquireExternalFD())
	{
		transfer->out_of_descriptors = true;
		return CURL_SOCKET_BAD;
	}
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC,
				address->protocol);
	if (fd < 0)
	{
		transfer->out_of_descriptors = errno == EMFILE || errno == ENFILE;
		ReleaseExternalFD();
		return CURL_SOCKET_BAD;
	}
	if (!add_connection(transfer->transport, fd))
	{
		transfer->out_of_memory = true;
		close(fd);
		ReleaseExternalFD();
		return CURL_SOCKET_BAD;
	}
	return fd;
}

/* Closing takes the socket out of the epoll set. */
int
on_close_socket(void *arg, curl_socket_t fd)
{
	WatchedSocket *socket = find_connection(arg, fd);
	int			result = close(fd);

	if (socket != NULL)
		socket->is_connection = false;
	ReleaseExternalFD();
	return result;
}

static int
register_socket(Transport *transport, int fd, uint32 events, bool is_there)
{
	struct epoll_event event = {.events = events,.data.fd = fd};

	return epoll_ctl(transport->epoll_fd, is_there ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
					 fd, &event);
}

/*
 * libcurl wants a socket watched, watched otherwise, or left alone.
 *
 * A kept connection is left alone after each request and watched again for the
 * next one; to spare both calls it stays in the epoll set meanwhile, until
 * something happens there that nobody wants (see forget_idle_connection).  For
 * other sockets "known" is what curl_multi_assign() keeps with them.
 */
int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	Transport  *transport = arg;
	WatchedSocket *connection = find_connection(transport, fd);
	uint32		events = 0;

	if (what & CURL_POLL_IN)
		events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		events |= EPOLLOUT;

	if (connection != NULL)
	{
		connection->wanted = what == CURL_POLL_REMOVE ? 0 : events;
		if (connection->wanted == 0 || connection->wanted == connection->registered)
			return 0;
		if (register_socket(transport, fd, events, connection->registered != 0) != 0)
			return -1;
		connection->registered = events;
		return 0;
	}

	if (what == CURL_POLL_REMOVE)
	{
		/* Fails harmlessly when the socket is closed already. */
		(void) epoll_ctl(transport->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	if (register_socket(transport, fd, events, known != NULL) != 0)
		return -1;
	if (known == NULL)
		curl_multi_assign(transport->multi, fd, transport);
	return 0;
}

int
on_timer(CURLM *multi, long timeout_ms, void *arg)
{
	Transport  *transport = arg;

	transport->deadline = timeout_ms < 0 ? -1 : monotonic_ms() + timeout_ms;
	return 0;
}

/* --- idle connections --- */

/*
 * Something happened on a connection that is idle, most likely its end.
 * libcurl looks for that before it uses a connection again.
 */
bool
forget_idle_connection(Transport *transport, int fd)
{
	WatchedSocket *connection = find_connection(transport, fd);

	if (connection == NULL || connection->wanted != 0)
		return false;
	(void) epoll_ctl(transport->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	connection->registered = 0;
	return true;
}

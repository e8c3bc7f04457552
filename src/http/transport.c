/*
 * transport.c
 *		Many HTTP requests in flight at once, in one process, without blocking.
 *
 * libcurl's multi interface tells us, by callbacks, which sockets to watch and
 * when to come back.  The sockets go into one epoll descriptor, since a
 * WaitEventSet cannot forget a socket; that descriptor, the latch and the
 * postmaster's death are what transport_wait() waits for.  So a request, a
 * cancel and a shutdown are all noticed at once.
 *
 * Rules that each cost somebody a crash, and hold for every line here:
 *
 * - Nothing called by libcurl may raise, palloc or look at interrupts: leaving
 *	 a callback by longjmp makes the multi handle unusable for good.  Callbacks
 *	 fill malloc'ed, capped buffers and set flags.
 * - Name resolution runs in a thread of libcurl's.  It inherits the signal mask
 *	 of the call that starts it, so signals are blocked around such calls; else
 *	 a handler of the server's could run on a foreign thread.
 * - OPENSOCKET is not asked when a connection is reused, PREREQ is.  Both check
 *	 the address, and PREREQ counts: libcurl repeats a request by itself when a
 *	 reused connection dies before the first byte of an answer.
 * - Every default of libcurl that the environment or a file could change is set
 *	 in one place, set_constant_options().
 *
 * A connection cache belongs to a transport, a transport to a run, and so a
 * connection is never shared between owners or destinations.
 */
#include "postgres.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "access/xact.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/settings.h"
#include "http/egress.h"
#include "http/header.h"
#include "http/redact.h"
#include "http/transport.h"

#if LIBCURL_VERSION_NUM < 0x075700
#error "signalsmith needs libcurl 7.87 or later: it relies on CURLOPT_QUICK_EXIT to end with a name lookup pending"
#endif

/* Certificates are checked again at least this often, in seconds. */
#define MAX_CONNECTION_LIFETIME 300

/* A finished transfer keeps a body buffer up to this size for the next one. */
#define KEEP_BUFFER_SIZE (64 * 1024)

/* How often the postmaster is looked for while sockets are never idle. */
#define ROUNDS_PER_FULL_WAIT 64

/* Bytes of an answer; malloc'ed. */
typedef struct AnswerPart
{
	char	   *data;
	size_t		length;
	size_t		size;
} AnswerPart;

/* A request with its answer.  malloc'ed, and used again for later requests. */
typedef struct Transfer
{
	dlist_node	node;			/* in idle, active or finished */
	Transport  *transport;
	CURL	   *easy;
	CURLU	   *url;
	struct curl_slist *headers;
	void	   *tag;
	int			timeout_ms;
	AnswerPart	head;
	AnswerPart	body;
	char		error[CURL_ERROR_SIZE];

	/* Set by callbacks. */
	int			times_sent;
	bool		address_refused;
	bool		out_of_descriptors;
	bool		out_of_memory;
	bool		head_too_long;
	bool		body_cut;

	/* Set when it is done. */
	CURLcode	code;
	bool		host_refused;	/* never given to libcurl */
} Transfer;

/* A connection's socket in the epoll set; one element a descriptor. */
typedef struct WatchedSocket
{
	bool		is_connection;	/* opened by on_open_socket */
	uint32		wanted;			/* by libcurl: EPOLLIN, EPOLLOUT; 0: nothing */
	uint32		registered;		/* in the epoll set; 0: not there */
} WatchedSocket;

struct Transport
{
	MemoryContext context;
	MemoryContext answer_context;	/* of what transport_next_answer returned */
	MemoryContextCallback callback;
	CURLM	   *multi;
	int			epoll_fd;		/* -1: none */
	WaitEventSet *wait_set;
	WatchedSocket *sockets;		/* by descriptor; malloc'ed */
	int			socket_count;
	int64		deadline;		/* when libcurl wants to be called, in
								 * milliseconds of the monotonic clock; -1:
								 * no need */
	int			rounds;			/* since the last full wait */
	dlist_head	idle;
	dlist_head	active;
	dlist_head	finished;
	int			in_flight;		/* active and finished */
	bool		transaction_permitted;
	Transfer   *handed_out;		/* what the current answer points into */
	HttpAnswer	answer;
};

static int64
now_ms(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MILLISEC(now);
}

/* --- what libcurl calls: nothing here may raise --- */

static bool
append_part(AnswerPart *part, const char *data, size_t length)
{
	if (part->length + length + 1 > part->size)
	{
		size_t		size = Max(part->size, 1024);
		char	   *grown;

		while (size < part->length + length + 1)
			size *= 2;
		grown = realloc(part->data, size);
		if (grown == NULL)
			return false;
		part->data = grown;
		part->size = size;
	}
	memcpy(part->data + part->length, data, length);
	part->length += length;
	part->data[part->length] = '\0';
	return true;
}

static size_t
on_header(char *data, size_t size, size_t count, void *arg)
{
	Transfer   *transfer = arg;
	size_t		length = size * count;

	/* A status line begins: what came before were interim headers. */
	if (length >= 5 && memcmp(data, "HTTP/", 5) == 0)
		transfer->head.length = 0;
	if (transfer->head.length + length > HTTP_MAX_HEAD_LENGTH)
	{
		transfer->head_too_long = true;
		return 0;
	}
	if (!append_part(&transfer->head, data, length))
	{
		transfer->out_of_memory = true;
		return 0;
	}
	return length;
}

/*
 * What is beyond the cap is not read at all: the transfer ends there, and its
 * status counts.
 */
static size_t
on_body(char *data, size_t size, size_t count, void *arg)
{
	Transfer   *transfer = arg;
	size_t		length = size * count;
	size_t		room = HTTP_MAX_BODY_LENGTH - transfer->body.length;

	if (!append_part(&transfer->body, data, Min(length, room)))
	{
		transfer->out_of_memory = true;
		return 0;
	}
	if (length > room)
	{
		transfer->body_cut = true;
		return 0;
	}
	return length;
}

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

static curl_socket_t
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
static int
on_close_socket(void *arg, curl_socket_t fd)
{
	WatchedSocket *socket = find_connection(arg, fd);
	int			result = close(fd);

	if (socket != NULL)
		socket->is_connection = false;
	ReleaseExternalFD();
	return result;
}

/* A connection, new or reused, is about to carry the request. */
static int
on_connected(void *arg, char *remote_address, char *local_address,
			 int remote_port, int local_port)
{
	Transfer   *transfer = arg;

	if (!egress_address_text_allowed(remote_address))
	{
		transfer->address_refused = true;
		return CURL_PREREQFUNC_ABORT;
	}
	transfer->times_sent++;
	return CURL_PREREQFUNC_OK;
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
static int
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

static int
on_timer(CURLM *multi, long timeout_ms, void *arg)
{
	Transport  *transport = arg;

	transport->deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	return 0;
}

/* --- signals --- */

/*
 * Blocks every signal that does not come from our own fault, so that a thread
 * started now never runs a handler of the server's.
 */
static void
block_signals(sigset_t *saved)
{
	sigset_t	all;

	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGABRT);
	sigdelset(&all, SIGTRAP);
	pthread_sigmask(SIG_BLOCK, &all, saved);
}

static void
restore_signals(const sigset_t *saved)
{
	pthread_sigmask(SIG_SETMASK, saved, NULL);
}

/* --- making and freeing --- */

static void
free_transfer(Transfer *transfer)
{
	curl_easy_cleanup(transfer->easy);
	curl_url_cleanup(transfer->url);
	curl_slist_free_all(transfer->headers);
	free(transfer->head.data);
	free(transfer->body.data);
	free(transfer);
}

static void
free_transfers(dlist_head *list)
{
	while (!dlist_is_empty(list))
		free_transfer(dlist_container(Transfer, node, dlist_pop_head_node(list)));
}

/* Called when the transport's memory context goes, for whatever reason. */
static void
free_everything(void *arg)
{
	Transport  *transport = arg;
	dlist_iter	iter;

	dlist_foreach(iter, &transport->active)
		curl_multi_remove_handle(transport->multi,
								 dlist_container(Transfer, node, iter.cur)->easy);
	free_transfers(&transport->active);
	free_transfers(&transport->finished);
	free_transfers(&transport->idle);
	if (transport->handed_out != NULL)
		free_transfer(transport->handed_out);
	if (transport->multi != NULL)
		curl_multi_cleanup(transport->multi);
	free(transport->sockets);
	if (transport->wait_set != NULL)
		FreeWaitEventSet(transport->wait_set);
	if (transport->epoll_fd >= 0)
	{
		close(transport->epoll_fd);
		ReleaseExternalFD();
	}
}

/*
 * Once a process, and never in the postmaster: its children would inherit the
 * state.
 */
static void
initialize_libcurl(void)
{
	static bool initialized = false;

	Assert(IsUnderPostmaster);
	if (initialized)
		return;

	/* OpenSSL would write the keys of every session there. */
	unsetenv("SSLKEYLOGFILE");
	if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not initialize the HTTP client")));
	initialized = true;
}

static void
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

static void
open_multi(Transport *transport)
{
	CURLM	   *multi = curl_multi_init();

	if (multi == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	transport->multi = multi;
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, transport);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(multi, CURLMOPT_TIMERDATA, transport);
	curl_multi_setopt(multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
}

Transport *
transport_create(MemoryContext context)
{
	MemoryContext own_context;
	Transport  *transport;

	initialize_libcurl();

	own_context = AllocSetContextCreate(context, "signalsmith transport",
										ALLOCSET_SMALL_SIZES);
	transport = MemoryContextAllocZero(own_context, sizeof(Transport));
	transport->context = own_context;
	transport->epoll_fd = -1;
	transport->deadline = -1;
	dlist_init(&transport->idle);
	dlist_init(&transport->active);
	dlist_init(&transport->finished);

	/* From here on whatever is opened is closed with the context. */
	transport->callback.func = free_everything;
	transport->callback.arg = transport;
	MemoryContextRegisterResetCallback(own_context, &transport->callback);

	transport->answer_context = AllocSetContextCreate(own_context,
													  "signalsmith answer",
													  ALLOCSET_SMALL_SIZES);
	open_epoll(transport);
	open_multi(transport);
	transport->wait_set = create_wait_event_set(own_context, 3);
	AddWaitEventToSet(transport->wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(transport->wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(transport->wait_set, WL_SOCKET_READABLE, transport->epoll_fd, NULL, NULL);
	return transport;
}

void
transport_destroy(Transport *transport)
{
	MemoryContextDelete(transport->context);
}

/* --- starting a request --- */

/*
 * What is the same for every request.  Nothing is left to defaults that depend
 * on the environment, a file in somebody's home or a future release.
 */
static void
set_constant_options(Transfer *transfer)
{
	CURL	   *easy = transfer->easy;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, transfer->transport);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);

	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 1L);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long) CURLAUTH_NONE);
	curl_easy_setopt(easy, CURLOPT_HSTS_CTRL, 0L);
	curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, NULL);
	curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	if (setting_ca_file != NULL && setting_ca_file[0] != '\0')
	{
		curl_easy_setopt(easy, CURLOPT_CAINFO, setting_ca_file);
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	}
	curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, (long) MAX_CONNECTION_LIFETIME);
}

static Transfer *
new_transfer(Transport *transport)
{
	Transfer   *transfer = calloc(1, sizeof(Transfer));

	if (transfer != NULL)
	{
		transfer->transport = transport;
		transfer->easy = curl_easy_init();
		transfer->url = curl_url();
		if (transfer->easy != NULL && transfer->url != NULL)
		{
			set_constant_options(transfer);
			return transfer;
		}
		free_transfer(transfer);
	}
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory")));
}

/* Gives a transfer back; big buffers go. */
static void
recycle_transfer(Transfer *transfer)
{
	curl_slist_free_all(transfer->headers);
	transfer->headers = NULL;
	if (transfer->body.size > KEEP_BUFFER_SIZE)
	{
		free(transfer->body.data);
		memset(&transfer->body, 0, sizeof(AnswerPart));
	}
	dlist_push_head(&transfer->transport->idle, &transfer->node);
}

static Transfer *
take_idle_transfer(Transport *transport)
{
	Transfer   *transfer;

	if (dlist_is_empty(&transport->idle))
		return new_transfer(transport);
	transfer = dlist_container(Transfer, node, dlist_pop_head_node(&transport->idle));
	transfer->head.length = 0;
	transfer->body.length = 0;
	transfer->error[0] = '\0';
	transfer->times_sent = 0;
	transfer->address_refused = false;
	transfer->out_of_descriptors = false;
	transfer->out_of_memory = false;
	transfer->head_too_long = false;
	transfer->body_cut = false;
	transfer->host_refused = false;
	transfer->code = CURLE_OK;
	return transfer;
}

/* Raises unless the request is one that libcurl cannot misunderstand. */
static void
check_request(const HttpRequest *request)
{
	for (const unsigned char *p = (const unsigned char *) request->url; *p != '\0'; p++)
		if (*p <= 0x20 || *p >= 0x7F)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a URL must not hold spaces, control or non-ASCII characters")));
	for (int i = 0; i < request->header_count; i++)
	{
		const char *fault = header_name_fault(request->headers[i].name);

		if (fault == NULL)
			fault = header_value_fault(request->headers[i].value);
		if (fault != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid HTTP header"),
					 errdetail_internal("%s", fault)));
	}
}

/*
 * Parses the URL, by the parser that will be used for connecting, and asks
 * whether its host may be asked.  Returns false for an invalid URL.
 */
static bool
set_url(Transfer *transfer, const char *url)
{
	char	   *scheme = NULL;
	char	   *host = NULL;
	char	   *port = NULL;
	bool		valid;

	valid = curl_url_set(transfer->url, CURLUPART_URL, url, CURLU_DISALLOW_USER) == CURLUE_OK &&
		curl_url_get(transfer->url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
		curl_url_get(transfer->url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		curl_url_get(transfer->url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
		(strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
	if (valid)
		transfer->host_refused = !egress_host_allowed(scheme, host, atoi(port));
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	return valid;
}

static bool
append_header(struct curl_slist **list, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*list, line);

	if (longer == NULL)
		return false;
	*list = longer;
	return true;
}

/*
 * libcurl would add a Content-Type and, above 1 MiB, wait a second for "100
 * Continue"; a name with nothing after the colon stops that.
 */
static bool
set_headers(Transfer *transfer, const HttpRequest *request)
{
	StringInfoData line;
	bool		done;

	done = append_header(&transfer->headers, "Expect:") &&
		append_header(&transfer->headers, "Content-Type:");
	initStringInfo(&line);
	for (int i = 0; done && i < request->header_count; i++)
	{
		const HttpHeader *header = &request->headers[i];

		resetStringInfo(&line);
		if (header->value[0] == '\0')
			appendStringInfo(&line, "%s;", header->name);
		else
			appendStringInfo(&line, "%s: %s", header->name, header->value);
		done = append_header(&transfer->headers, line.data);
	}
	pfree(line.data);
	return done;
}

static bool
set_request_options(Transfer *transfer, const HttpRequest *request)
{
	CURL	   *easy = transfer->easy;
	bool		has_body = request->body != NULL ||
	strcmp(request->method, "POST") == 0 ||
	strcmp(request->method, "PUT") == 0 ||
	strcmp(request->method, "PATCH") == 0;

	if (!set_headers(transfer, request))
		return false;
	if (has_body)
	{
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) request->body_length);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body ? request->body : "");
	}
	else if (strcmp(request->method, "HEAD") == 0)
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	else
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);

	transfer->timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : setting_request_timeout;
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) transfer->timeout_ms);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
					 (long) Min(setting_connect_timeout, transfer->timeout_ms));
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, (long) request->fresh_connection);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, (long) request->fresh_connection);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
	return curl_easy_setopt(easy, CURLOPT_CURLU, transfer->url) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK;
}

void
transport_submit(Transport *transport, const HttpRequest *request, void *tag)
{
	Transfer   *transfer;

	check_request(request);
	transfer = take_idle_transfer(transport);
	transfer->tag = tag;
	if (!set_url(transfer, request->url))
	{
		recycle_transfer(transfer);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid URL"),
				 errdetail("A URL is http or https, with a host and without a user name.")));
	}
	if (transfer->host_refused)
	{
		transport->in_flight++;
		dlist_push_tail(&transport->finished, &transfer->node);
		return;
	}

	/* Nothing is started yet, no thread either: that is for work(). */
	if (!set_request_options(transfer, request) ||
		curl_multi_add_handle(transport->multi, transfer->easy) != CURLM_OK)
	{
		recycle_transfer(transfer);
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	}
	transport->in_flight++;
	dlist_push_tail(&transport->active, &transfer->node);
}

void
transport_permit_transaction(Transport *transport)
{
	transport->transaction_permitted = true;
}

int
transport_in_flight(const Transport *transport)
{
	return transport->in_flight;
}

/* --- waiting --- */

static void
collect_finished(Transport *transport)
{
	CURLMsg    *message;
	int			remaining;

	while ((message = curl_multi_info_read(transport->multi, &remaining)) != NULL)
	{
		CURLcode	code = message->data.result;
		CURL	   *easy = message->easy_handle;
		Transfer   *transfer;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &transfer);
		curl_multi_remove_handle(transport->multi, easy);	/* message is gone */
		transfer->code = code;
		dlist_delete(&transfer->node);
		dlist_push_tail(&transport->finished, &transfer->node);
	}
}

/*
 * Something happened on a connection that is idle, most likely its end.
 * libcurl looks for that before it uses a connection again.
 */
static bool
forget_idle_connection(Transport *transport, int fd)
{
	WatchedSocket *connection = find_connection(transport, fd);

	if (connection == NULL || connection->wanted != 0)
		return false;
	(void) epoll_ctl(transport->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	connection->registered = 0;
	return true;
}

/* Does what can be done without waiting; returns whether there was anything. */
static bool
work(Transport *transport)
{
	struct epoll_event events[64];
	int			count = epoll_wait(transport->epoll_fd, events, lengthof(events), 0);
	bool		timer_due = transport->deadline >= 0 && transport->deadline <= now_ms();
	sigset_t	saved;
	int			running;

	if (count <= 0 && !timer_due)
		return false;

	block_signals(&saved);
	for (int i = 0; i < count; i++)
	{
		int			what = 0;

		if (forget_idle_connection(transport, events[i].data.fd))
			continue;
		if (events[i].events & EPOLLIN)
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (events[i].events & (EPOLLERR | EPOLLHUP))
			what |= CURL_CSELECT_ERR;
		curl_multi_socket_action(transport->multi, events[i].data.fd, what, &running);
	}
	if (timer_due)
	{
		transport->deadline = -1;
		curl_multi_socket_action(transport->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	collect_finished(transport);
	restore_signals(&saved);
	return true;
}

/* Sleeps until there may be something to do; returns whether the latch was set. */
static bool
sleep_on_everything(Transport *transport, long timeout_ms)
{
	static uint32 wait_event = 0;
	WaitEvent	event;

	if (wait_event == 0)
		wait_event = extension_wait_event("SignalsmithHttp");
	transport->rounds = 0;
	return WaitEventSetWait(transport->wait_set, timeout_ms, &event, 1, wait_event) == 1 &&
		(event.events & WL_LATCH_SET) != 0;
}

void
transport_wait(Transport *transport, long timeout_ms)
{
	int64		end = timeout_ms < 0 ? PG_INT64_MAX : now_ms() + timeout_ms;

	if (transport->in_flight > 0 && !transport->transaction_permitted && IsTransactionState())
		elog(ERROR, "a transaction is open while requests are in flight");

	for (;;)
	{
		bool		worked;
		bool		latch_is_set;
		int64		until = end;
		long		sleep_ms;

		CHECK_FOR_INTERRUPTS();
		worked = work(transport);

		if (transport->deadline >= 0)
			until = Min(until, transport->deadline);
		sleep_ms = until == PG_INT64_MAX ? -1 : Max(0, until - now_ms());
		if (worked || !dlist_is_empty(&transport->finished))
			sleep_ms = 0;
		if (sleep_ms != 0 || ++transport->rounds >= ROUNDS_PER_FULL_WAIT)
			latch_is_set = sleep_on_everything(transport, sleep_ms);
		else
			latch_is_set = MyLatch->is_set;

		if (latch_is_set)
		{
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
			return;
		}
		if (!dlist_is_empty(&transport->finished) || now_ms() >= end)
			return;
	}
}

/* --- answers --- */

/* How far a request came that is over now. */
static HttpResult
result_of(const Transfer *transfer)
{
	long		request_size = 0;

	if (transfer->host_refused)
		return HTTP_REFUSED;
	if (transfer->code == CURLE_OK || transfer->body_cut)
		return HTTP_ANSWERED;
	curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &request_size);
	if (request_size > 0)
		return HTTP_UNKNOWN;
	return transfer->address_refused ? HTTP_REFUSED : HTTP_NOT_SENT;
}

static int
elapsed_ms(const Transfer *transfer, CURLINFO what)
{
	curl_off_t	microseconds = 0;

	curl_easy_getinfo(transfer->easy, what, &microseconds);
	return (int) (microseconds / 1000);
}

static bool
failed_in_tls(CURLcode code)
{
	switch (code)
	{
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CIPHER:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_SSL_INVALIDCERTSTATUS:
			return true;
		default:
			return false;
	}
}

/*
 * Each of these times is 0 until it has come that far, and then is not; but
 * libcurl takes a connection that fails in TLS for one that was never made.
 */
static HttpStage
stage_of(const Transfer *transfer)
{
	curl_off_t	looked_up = 0;
	curl_off_t	connected = 0;
	curl_off_t	secured = 0;

	if (transfer->host_refused || transfer->code == CURLE_COULDNT_RESOLVE_HOST)
		return HTTP_UNRESOLVED;
	curl_easy_getinfo(transfer->easy, CURLINFO_NAMELOOKUP_TIME_T, &looked_up);
	curl_easy_getinfo(transfer->easy, CURLINFO_CONNECT_TIME_T, &connected);
	curl_easy_getinfo(transfer->easy, CURLINFO_APPCONNECT_TIME_T, &secured);
	if (secured > 0)
		return HTTP_SECURED;
	if (connected > 0 || failed_in_tls(transfer->code))
		return HTTP_CONNECTED;
	return looked_up > 0 ? HTTP_RESOLVED : HTTP_UNRESOLVED;
}

static const char *
error_of(const Transport *transport, const Transfer *transfer)
{
	const HttpAnswer *answer = &transport->answer;

	if (transfer->host_refused)
		return "the host is not among signalsmith.allowed_hosts";
	if (answer->result == HTTP_REFUSED)
		return "the host has a private address, and signalsmith.allow_private_networks is off";
	if (transfer->out_of_descriptors)
		return "too many open files";
	if (transfer->out_of_memory || transfer->code == CURLE_OUT_OF_MEMORY)
		return "out of memory";
	if (transfer->head_too_long)
		return psprintf("the answer's headers are longer than %d kB", HTTP_MAX_HEAD_LENGTH / 1024);
	if (transfer->code == CURLE_OPERATION_TIMEDOUT)
		return psprintf("timed out after %d ms (name lookup %d ms, connect %d ms, TLS %d ms)",
						answer->total_ms, answer->dns_ms, answer->connect_ms, answer->tls_ms);
	if (transfer->error[0] != '\0')
		return redact_text(transfer->error, NULL, 0);
	return curl_easy_strerror(transfer->code);
}

static void
fill_timings(HttpAnswer *answer, const Transfer *transfer)
{
	curl_off_t	uploaded = 0;
	int			looked_up = elapsed_ms(transfer, CURLINFO_NAMELOOKUP_TIME_T);
	int			connected = elapsed_ms(transfer, CURLINFO_CONNECT_TIME_T);
	int			secured = elapsed_ms(transfer, CURLINFO_APPCONNECT_TIME_T);

	answer->dns_ms = looked_up;
	answer->connect_ms = Max(0, connected - looked_up);
	answer->tls_ms = Max(0, secured - connected);
	answer->total_ms = elapsed_ms(transfer, CURLINFO_TOTAL_TIME_T);
	curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
	answer->bytes_sent = uploaded;
}

static void
fill_answer(Transport *transport, const Transfer *transfer)
{
	HttpAnswer *answer = &transport->answer;
	long		status = 0;
	MemoryContext old_context;

	memset(answer, 0, sizeof(HttpAnswer));
	answer->tag = transfer->tag;
	answer->result = result_of(transfer);
	answer->stage = stage_of(transfer);
	answer->headers = transfer->head.length > 0 ? transfer->head.data : "";
	answer->body = transfer->body.length > 0 ? transfer->body.data : "";
	answer->body_length = transfer->body.length;
	answer->body_cut = transfer->body_cut;
	answer->resent = transfer->times_sent > 1;
	if (!transfer->host_refused)
	{
		curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
		answer->status = status;
		fill_timings(answer, transfer);
	}
	if (answer->result != HTTP_ANSWERED)
	{
		old_context = MemoryContextSwitchTo(transport->answer_context);
		answer->error = error_of(transport, transfer);
		MemoryContextSwitchTo(old_context);
	}
}

HttpAnswer *
transport_next_answer(Transport *transport)
{
	Transfer   *transfer;

	if (transport->handed_out != NULL)
	{
		recycle_transfer(transport->handed_out);
		transport->handed_out = NULL;
		MemoryContextReset(transport->answer_context);
	}
	if (dlist_is_empty(&transport->finished))
		return NULL;

	transfer = dlist_container(Transfer, node, dlist_pop_head_node(&transport->finished));
	transport->handed_out = transfer;
	transport->in_flight--;
	fill_answer(transport, transfer);
	return &transport->answer;
}

char *
http_answer_header(const HttpAnswer *answer, const char *name)
{
	size_t		length;
	const char *value = header_find(answer->headers, name, &length);

	return value != NULL ? pnstrdup(value, length) : NULL;
}

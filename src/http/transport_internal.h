/*
 * transport_internal.h
 *		What the files of the transport share, and nobody else sees.
 *
 * transport.c has the loop and the public functions, transfer.c one request and
 * the buffers of its answer, transfer_answer.c what is made of that answer, and
 * socket_set.c the connections' sockets and libcurl's timer.
 *
 * Rules that each cost somebody a crash, and hold for every line of these files:
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
 */
#ifndef SIGNALSMITH_TRANSPORT_INTERNAL_H
#define SIGNALSMITH_TRANSPORT_INTERNAL_H

#include "postgres.h"

#include "lib/ilist.h"
#include "storage/latch.h"

#include "http/libcurl.h"
#include "http/transport.h"

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
	bool		not_started;	/* nor this, for want of memory */
	bool		unusable;		/* it could not be made in full */
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

/* --- transfer.c --- */

/* Raises unless the request is one that libcurl cannot misunderstand. */
extern void check_request(const HttpRequest *request);

/*
 * A transfer for the next request, out of the idle ones or new; in no list.  It
 * may be unusable for want of memory.
 */
extern Transfer *take_idle_transfer(Transport *transport);

/*
 * Parses the URL, by the parser that will be used for connecting, and asks
 * whether its host may be asked.  Returns what is wrong with the URL, which may be
 * that there is no memory for it.
 */
extern CURLUcode set_url(Transfer *transfer, const char *url);

/* The rest of the request.  Returns false when memory is out. */
extern bool set_request_options(Transfer *transfer, const HttpRequest *request);

/* Gives a transfer, which is in no list, back to the idle ones. */
extern void recycle_transfer(Transfer *transfer);

/* Free; libcurl must have let go of them.  Nothing here raises. */
extern void free_transfer(Transfer *transfer);
extern void free_transfers(dlist_head *list);

/* --- transfer_answer.c --- */

/*
 * Fills transport->answer from a finished transfer.  It points into the
 * transfer's buffers; the error is in transport->answer_context.
 */
extern void fill_answer(Transport *transport, const Transfer *transfer);

/* --- socket_set.c --- */

/* Opens the epoll descriptor, as one of the server's external ones; raises. */
extern void open_epoll(Transport *transport);

/*
 * Whether an event on a descriptor was one that nobody wants, on a connection
 * that is idle; then the epoll set no longer has it.
 */
extern bool forget_idle_connection(Transport *transport, int fd);

/*
 * Called by libcurl.  The first takes the transfer, the others the transport,
 * as their argument.
 */
extern curl_socket_t on_open_socket(void *arg, curlsocktype purpose,
									struct curl_sockaddr *address);
extern int	on_close_socket(void *arg, curl_socket_t fd);
extern int	on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known);
extern int	on_timer(CURLM *multi, long timeout_ms, void *arg);

#endif							/* SIGNALSMITH_TRANSPORT_INTERNAL_H */

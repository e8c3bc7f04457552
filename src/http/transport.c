/*
 * transport.c
 *		Many HTTP requests in flight at once, in one process, without blocking.
 *
 * The loop and the public functions.  The sockets that libcurl wants watched are
 * in one epoll descriptor (socket_set.c); that descriptor, the latch and the
 * postmaster's death are what transport_wait() waits for.  So a request, a
 * cancel and a shutdown are all noticed at once.
 *
 * A connection cache belongs to a transport, a transport to a run, and so a
 * connection is never shared between owners or destinations.
 *
 * The rules for working with libcurl are in transport_internal.h.
 */
#include "postgres.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#include "base/backoff.h"
#include "base/compat.h"
#include "http/header.h"
#include "http/transport_internal.h"

/* When to look after transfers that libcurl has no timer for. */
#define LOST_TIMER_MS 1000

/* How often the postmaster is looked for while sockets are never idle. */
#define ROUNDS_PER_FULL_WAIT 64

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

/* The answer to it is there already. */
static void
finish_at_once(Transport *transport, Transfer *transfer)
{
	transport->in_flight++;
	dlist_push_tail(&transport->finished, &transfer->node);
}

/* For want of memory; that is over some day, and no reason to end a run. */
static void
finish_unstarted(Transport *transport, Transfer *transfer)
{
	transfer->not_started = true;
	finish_at_once(transport, transfer);
}

void
transport_submit(Transport *transport, const HttpRequest *request, void *tag)
{
	Transfer   *transfer;
	CURLUcode	code;

	check_request(request);
	transfer = take_idle_transfer(transport);
	transfer->tag = tag;
	code = transfer->unusable ? CURLUE_OUT_OF_MEMORY : set_url(transfer, request->url);
	if (code == CURLUE_OUT_OF_MEMORY)
	{
		finish_unstarted(transport, transfer);
		return;
	}
	if (code != CURLUE_OK)
	{
		recycle_transfer(transfer);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid URL"),
				 errdetail("A URL is http or https, with a host and without a user name.")));
	}
	if (transfer->host_refused)
	{
		finish_at_once(transport, transfer);
		return;
	}

	/* Nothing is started yet, no thread either: that is for work(). */
	if (!set_request_options(transfer, request) ||
		curl_multi_add_handle(transport->multi, transfer->easy) != CURLM_OK)
	{
		finish_unstarted(transport, transfer);
		return;
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
 * libcurl has a timer while anything is under way, unless memory ran out before
 * it could say so: then nothing would ever come of a transfer.
 */
static void
watch_over_transfers(Transport *transport)
{
	if (transport->deadline < 0 && !dlist_is_empty(&transport->active))
		transport->deadline = monotonic_ms() + LOST_TIMER_MS;
}

/* Does what can be done without waiting; returns whether there was anything. */
static bool
work(Transport *transport)
{
	struct epoll_event events[64];
	int			count = epoll_wait(transport->epoll_fd, events, lengthof(events), 0);
	bool		timer_due = transport->deadline >= 0 && transport->deadline <= monotonic_ms();
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
	watch_over_transfers(transport);
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
	int64		end = timeout_ms < 0 ? PG_INT64_MAX : monotonic_ms() + timeout_ms;

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
		sleep_ms = until == PG_INT64_MAX ? -1 : Max(0, until - monotonic_ms());
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
		if (!dlist_is_empty(&transport->finished) || monotonic_ms() >= end)
			return;
	}
}

/* --- answers --- */

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

/*
 * transport.h
 *		Many HTTP requests in flight at once, in one process, without blocking.
 *
 * Nothing of libcurl shows here, and nothing is ever raised from inside it; a
 * transport owns its malloc'ed memory through the memory context it was made
 * in, so an error anywhere frees it.  No transaction may be open while requests
 * are in flight; this is checked, but see transport_permit_transaction().
 */
#ifndef SIGNALSMITH_TRANSPORT_H
#define SIGNALSMITH_TRANSPORT_H

#include "postgres.h"

/* What is read of an answer. */
#define HTTP_MAX_HEAD_LENGTH (64 * 1024)
#define HTTP_MAX_BODY_LENGTH (1024 * 1024)

typedef struct HttpHeader
{
	const char *name;
	const char *value;			/* UTF-8, free of control bytes: checked */
} HttpHeader;

typedef struct HttpRequest
{
	const char *method;
	const char *url;			/* absolute, already encoded: printable ASCII */
	int			header_count;
	HttpHeader *headers;
	const char *body;			/* NULL: none.  Stays the caller's, unchanged,
								 * until the request is done */
	size_t		body_length;
	int			timeout_ms;		/* 0: signalsmith.request_timeout */
	bool		fresh_connection;	/* never repeated behind our back */
} HttpRequest;

/* How far a request came. */
typedef enum HttpResult
{
	HTTP_ANSWERED,				/* a complete answer */
	HTTP_NOT_SENT,				/* no byte of the request left us */
	HTTP_UNKNOWN,				/* sent, at least in part; no complete answer */
	HTTP_REFUSED				/* by our own egress rules; nothing was sent */
} HttpResult;

/* What of a connection there was when the request ended. */
typedef enum HttpStage
{
	HTTP_UNRESOLVED,			/* no address for the host's name */
	HTTP_RESOLVED,
	HTTP_CONNECTED,
	HTTP_SECURED				/* over TLS */
} HttpStage;

typedef struct HttpAnswer
{
	void	   *tag;			/* the caller's, from transport_submit */
	HttpResult	result;
	HttpStage	stage;
	int			status;			/* 0 unless a status line came */
	const char *headers;		/* raw header lines of the final answer */
	const char *body;			/* zero-terminated; may hold any byte */
	size_t		body_length;
	bool		body_cut;		/* longer than we read */
	bool		resent;			/* libcurl sent it twice: connection died */
	const char *error;			/* for people, redacted; NULL when answered */
	int64		bytes_sent;		/* of the request's body */
	int			dns_ms;
	int			connect_ms;
	int			tls_ms;
	int64		total_us;
} HttpAnswer;

typedef struct Transport Transport;

extern Transport *transport_create(MemoryContext context);

/*
 * Starts a request.  Copies everything but the body.  Raises only on a request
 * that is malformed (a control byte in a header, a URL that is no http(s) URL).
 */
extern void transport_submit(Transport *transport, const HttpRequest *request,
							 void *tag);

/*
 * Lets requests be in flight while a transaction is open.  For a backend that
 * makes one request for whoever waits for it, and sets a short timeout: its
 * transaction is the caller's, and cannot be ended.  No run may do that.
 */
extern void transport_permit_transaction(Transport *transport);

/* Requests whose answers have not been handed out yet. */
extern int	transport_in_flight(const Transport *transport);

/*
 * Waits until an answer is there, the latch is set or the time is over
 * (milliseconds; -1: no limit), works on all transfers meanwhile, and serves
 * interrupts.  Works with nothing in flight too: then it is a sleep that can be
 * woken.  A latch that was set is reset.
 */
extern void transport_wait(Transport *transport, long timeout_ms);

/*
 * The next finished request or NULL; the answer is valid until the following
 * call.
 */
extern HttpAnswer *transport_next_answer(Transport *transport);

/* Ends all transfers and connections. */
extern void transport_destroy(Transport *transport);

/* The value of an answer's header, palloc'ed, or NULL; names in any case. */
extern char *http_answer_header(const HttpAnswer *answer, const char *name);

#endif							/* SIGNALSMITH_TRANSPORT_H */

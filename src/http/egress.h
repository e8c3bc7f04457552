/*
 * egress.h
 *		Where requests may go: signalsmith.allowed_hosts and
 *		signalsmith.allow_private_networks, as they are at the moment of asking.
 *
 * Nothing here allocates or raises, so that libcurl's callbacks may ask.
 */
#ifndef SIGNALSMITH_EGRESS_H
#define SIGNALSMITH_EGRESS_H

#include "postgres.h"

#include <sys/socket.h>

/*
 * Whether a URL's host may be asked at all.  scheme is "http" or "https", host
 * a name or an address (IPv6 in brackets), in any case, port the effective one.
 */
extern bool egress_host_allowed(const char *scheme, const char *host, int port);

/*
 * Whether a connection may go to this address.  Only IPv4 and IPv6 ever may.
 * The second form takes the address as text.
 */
extern bool egress_address_allowed(const struct sockaddr *address);
extern bool egress_address_text_allowed(const char *address);

#endif							/* SIGNALSMITH_EGRESS_H */

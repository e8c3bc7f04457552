/*
 * url.h
 *		URLs that requests may go to, as libcurl understands them.
 */
#ifndef SIGNALSMITH_URL_H
#define SIGNALSMITH_URL_H

#include "postgres.h"

/*
 * What is the matter with a URL, as a sentence; NULL: nothing.  A good one is
 * http or https, has a host and no user name, password or fragment, and is
 * parsed by libcurl, which later connects to what it has found in it.
 */
extern const char *url_fault(const char *url);

#endif							/* SIGNALSMITH_URL_H */

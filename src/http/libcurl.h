/*
 * libcurl.h
 *		The one door to libcurl, for the files of src/http alone.
 *
 * No other layer includes this, nor curl's own headers: what a caller may know
 * of a request and its answer is in transport.h.
 */
#ifndef SIGNALSMITH_LIBCURL_H
#define SIGNALSMITH_LIBCURL_H

#include <curl/curl.h>

#if LIBCURL_VERSION_NUM < 0x075700
#error "signalsmith needs libcurl 7.87 or later: it relies on CURLOPT_QUICK_EXIT to end with a name lookup pending"
#endif

#endif							/* SIGNALSMITH_LIBCURL_H */

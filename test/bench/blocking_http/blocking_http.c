/*
 * blocking_http.c
 *		A POST from SQL that waits for its answer, as extensions that offer HTTP as
 *		a function do it with keep-alive: the yardstick of test/bench/delivery.
 *
 * One libcurl handle is kept for the session; the caller's transaction waits.
 * For a benchmark on loopback alone: nothing is checked and nothing retried.
 */
#include "postgres.h"

#include <curl/curl.h>

#include "fmgr.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(blocking_post);

static size_t
ignore_body(char *data, size_t size, size_t count, void *arg)
{
	return size * count;
}

static CURL *
kept_handle(void)
{
	static CURL *handle = NULL;
	static struct curl_slist *headers = NULL;

	if (handle != NULL)
		return handle;
	handle = curl_easy_init();
	headers = curl_slist_append(headers, "Content-Type: application/json");
	headers = curl_slist_append(headers, "Expect:");
	curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, ignore_body);
	curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
	return handle;
}

/* blocking_post(url text, body text) returns integer: the status */
Datum
blocking_post(PG_FUNCTION_ARGS)
{
	CURL	   *handle = kept_handle();
	text	   *body = PG_GETARG_TEXT_PP(1);
	long		status = 0;
	CURLcode	code;

	curl_easy_setopt(handle, CURLOPT_URL, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) VARSIZE_ANY_EXHDR(body));
	curl_easy_setopt(handle, CURLOPT_POSTFIELDS, VARDATA_ANY(body));
	code = curl_easy_perform(handle);
	if (code != CURLE_OK)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("could not post: %s", curl_easy_strerror(code))));
	curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
	PG_RETURN_INT32(status);
}

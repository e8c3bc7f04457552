/*
 * url.c
 *		URLs that requests may go to, as libcurl understands them.
 *
 * Two parsers of URLs disagree about the odd ones, and between them whoever
 * checks a host and whoever connects to it see different ones.  So libcurl's is
 * the judge here too; what goes beyond it only refuses more.
 */
#include "postgres.h"

#include "http/libcurl.h"
#include "http/url.h"

static bool
is_known_to_libcurl(const char *url)
{
	CURLU	   *parsed = curl_url();
	char	   *host = NULL;
	bool		known;

	known = parsed != NULL &&
		curl_url_set(parsed, CURLUPART_URL, url, CURLU_DISALLOW_USER) == CURLUE_OK &&
		curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		host[0] != '\0';
	curl_free(host);
	curl_url_cleanup(parsed);
	return known;
}

const char *
url_fault(const char *url)
{
	const char *host;
	size_t		host_length;

	for (const unsigned char *p = (const unsigned char *) url; *p != '\0'; p++)
		if (*p <= 0x20 || *p >= 0x7F || *p == '\\')
			return "A URL must not hold spaces, backslashes, control or non-ASCII characters.";
	if (pg_strncasecmp(url, "http://", 7) != 0 && pg_strncasecmp(url, "https://", 8) != 0)
		return "A URL must begin with http:// or https://.";
	host = strstr(url, "://") + 3;
	host_length = strcspn(host, "/?#");
	if (host_length == 0)
		return "A URL must name a host.";
	if (memchr(host, '@', host_length) != NULL)
		return "A URL must not hold a user name or password.";
	if (strchr(url, '#') != NULL)
		return "A URL must not have a fragment.";
	if (!is_known_to_libcurl(url))
		return "Its host or port is not valid.";
	return NULL;
}

/*
 * fuzz_url.c
 *		URLs, and where requests may go.
 *
 * An input is a list of allowed hosts on a line, and a URL or an address.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#include "base/settings.h"
#include "http/egress.h"
#include "http/url.h"

#include "harness.h"

/* However an IPv4 address is wrapped into IPv6, it is as allowed as it is bare. */
static void
check_address(const char *address)
{
	struct in_addr v4;
	bool		allowed = egress_address_text_allowed(address);

	if (inet_pton(AF_INET, address, &v4) != 1)
		return;
	must(egress_address_text_allowed(psprintf("::ffff:%s", address)) == allowed);
	must(egress_address_text_allowed(psprintf("64:ff9b::%s", address)) == allowed);
	must(!egress_address_text_allowed(psprintf("::%s", address)));
}

/* What we have let pass names one host, to libcurl and to anybody else. */
static void
check_good_url(const char *url)
{
	CURLU	   *parsed = curl_url();
	char	   *host;
	char	   *scheme;
	size_t		authority = strcspn(url, "/") + 2;

	must(curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK);
	must(curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK);
	must(curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK);
	must(strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
	must(strcspn(host, "/?#@\\ ") == strlen(host));
	must(memchr(url + authority, '@', strcspn(url + authority, "/?#")) == NULL);
	(void) egress_host_allowed(scheme, host, 443);
	if (setting_allowed_hosts[0] == '\0')
		must(!egress_host_allowed(scheme, host, 443));
	curl_free(host);
	curl_free(scheme);
	curl_url_cleanup(parsed);
}

void
fuzz_url(const char *data, size_t length)
{
	char	   *text = pnstrdup(data, length);
	char	   *url;

	setting_allowed_hosts = take_line(text, &url);
	(void) egress_host_allowed("https", url, 443);
	check_address(url);
	if (url_fault(url) == NULL)
		check_good_url(url);
}

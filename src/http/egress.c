/*
 * egress.c
 *		Where requests may go.
 *
 * Two rules, asked at different times.  The host rule looks at the URL before
 * anything is done.  The address rule looks at what a name has become, when a
 * socket is opened and again when a connection is reused: a check of the name
 * alone falls to a name server that answers twice.  Every spelling of an address
 * (octal, decimal, mapped into IPv6) is the same to it, since by then it is an
 * address.
 *
 * The special ranges are those of the IANA registries (RFC 6890 and successors).
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/settings.h"
#include "http/egress.h"

typedef struct Range4
{
	uint32		network;
	int			bits;
} Range4;

static const Range4 private_ranges[] = {
	{0x00000000, 8},			/* this network */
	{0x0A000000, 8},			/* RFC 1918 */
	{0x64400000, 10},			/* carriers' NAT, RFC 6598 */
	{0x7F000000, 8},			/* loopback */
	{0xA83F8110, 32},			/* Azure's platform, behind a public address */
	{0xA9FE0000, 16},			/* link-local, and clouds' metadata */
	{0xAC100000, 12},			/* RFC 1918 */
	{0xC0000000, 24},			/* protocol assignments */
	{0xC0000200, 24},			/* documentation */
	{0xC0586300, 24},			/* 6to4 relays */
	{0xC0A80000, 16},			/* RFC 1918 */
	{0xC6120000, 15},			/* benchmarks */
	{0xC6336400, 24},			/* documentation */
	{0xCB007100, 24},			/* documentation */
	{0xE0000000, 3}				/* multicast, reserved, broadcast */
};

static bool
is_public4(uint32 address)
{
	for (int i = 0; i < (int) lengthof(private_ranges); i++)
	{
		uint32		mask = PG_UINT32_MAX << (32 - private_ranges[i].bits);

		if ((address & mask) == private_ranges[i].network)
			return false;
	}
	return true;
}

static uint32
embedded4(const unsigned char *bytes)
{
	return ((uint32) bytes[0] << 24) | ((uint32) bytes[1] << 16) |
		((uint32) bytes[2] << 8) | bytes[3];
}

/*
 * Global unicast is 2000::/3; of the rest only the forms that carry an IPv4
 * address through a translator can be public.
 */
static bool
is_public6(const unsigned char *a)
{
	static const unsigned char mapped[12] = {[10] = 0xFF,[11] = 0xFF};
	static const unsigned char translated[12] = {0x00, 0x64, 0xFF, 0x9B};

	if (memcmp(a, mapped, sizeof(mapped)) == 0 ||
		memcmp(a, translated, sizeof(translated)) == 0)
		return is_public4(embedded4(a + 12));
	if ((a[0] & 0xE0) != 0x20)
		return false;
	if (a[0] == 0x20 && a[1] == 0x02)	/* 6to4 */
		return is_public4(embedded4(a + 2));
	if (a[0] == 0x20 && a[1] == 0x01 && a[2] < 0x02)	/* Teredo, ORCHID ... */
		return false;
	if (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0D && a[3] == 0xB8)
		return false;			/* documentation */
	if (a[0] == 0x3F && a[1] == 0xFF && a[2] < 0x10)
		return false;			/* documentation, RFC 9637 */
	return true;
}

bool
egress_address_allowed(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return setting_allow_private_networks ||
			is_public4(ntohl(((const struct sockaddr_in *) address)->sin_addr.s_addr));
	if (address->sa_family == AF_INET6)
		return setting_allow_private_networks ||
			is_public6(((const struct sockaddr_in6 *) address)->sin6_addr.s6_addr);
	return false;
}

bool
egress_address_text_allowed(const char *address)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	char		bare[INET6_ADDRSTRLEN];

	/* Without a zone ("fe80::1%eth0"), which inet_pton does not know. */
	strlcpy(bare, address, sizeof(bare));
	bare[strcspn(bare, "%")] = '\0';

	if (inet_pton(AF_INET, bare, &v4.sin_addr) == 1)
		return egress_address_allowed((struct sockaddr *) &v4);
	if (inet_pton(AF_INET6, bare, &v6.sin6_addr) == 1)
		return egress_address_allowed((struct sockaddr *) &v6);
	return false;
}

/* Whether the host fits "*", "*.example.com" or "example.com". */
static bool
host_matches(const char *pattern, size_t pattern_length, const char *host,
			 size_t host_length)
{
	if (pattern_length == 0)
		return false;
	if (pattern[0] == '*')
	{
		pattern++;
		pattern_length--;
		if (pattern_length == 0)
			return true;
		if (pattern[0] != '.' || host_length <= pattern_length)
			return false;
		host += host_length - pattern_length;
		host_length = pattern_length;
	}
	return host_length == pattern_length &&
		pg_strncasecmp(pattern, host, pattern_length) == 0;
}

/*
 * Whether one pattern, [scheme://]host[:port], fits.  One that cannot be
 * understood fits nothing.
 */
static bool
pattern_matches(const char *pattern, size_t length, const char *scheme,
				const char *host, size_t host_length, int port)
{
	const char *end = pattern + length;
	const char *colon = NULL;
	size_t		scheme_length = strlen(scheme);

	for (const char *p = pattern; p + 2 < end; p++)
		if (memcmp(p, "://", 3) == 0)
		{
			if ((size_t) (p - pattern) != scheme_length ||
				pg_strncasecmp(pattern, scheme, scheme_length) != 0)
				return false;
			pattern = p + 3;
			break;
		}

	/* The port follows the last colon that is not inside brackets. */
	for (const char *p = end; p > pattern && p[-1] != ']'; p--)
		if (p[-1] == ':')
		{
			colon = p - 1;
			break;
		}
	if (colon != NULL)
	{
		int			wanted = 0;

		if (colon + 1 == end || end - colon > 6)
			return false;
		for (const char *p = colon + 1; p < end; p++)
		{
			if (*p < '0' || *p > '9')
				return false;
			wanted = wanted * 10 + (*p - '0');
		}
		if (wanted != port)
			return false;
		end = colon;
	}
	return host_matches(pattern, end - pattern, host, host_length);
}

bool
egress_host_allowed(const char *scheme, const char *host, int port)
{
	const char *p = setting_allowed_hosts;
	size_t		host_length = strlen(host);

	/* "example.com." is the same name. */
	if (host_length > 1 && host[host_length - 1] == '.')
		host_length--;

	while (p != NULL && *p != '\0')
	{
		size_t		length;

		p += strspn(p, ", \t\n\r");
		length = strcspn(p, ", \t\n\r");
		if (length > 0 &&
			pattern_matches(p, length, scheme, host, host_length, port))
			return true;
		p += length;
	}
	return false;
}

/*
 * client.c
 *		The HTTP client that is installed here, for check_installation().
 *
 * The library may be another one than that which we were built with.
 */
#include "postgres.h"

#include <unistd.h>

#include "storage/fd.h"

#include "base/settings.h"
#include "http/client.h"
#include "http/libcurl.h"

/* A certificate comes first, or after some words about it. */
#define LOOKED_AT 16384

char *
http_client_version(void)
{
	const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);

	return psprintf("libcurl %s, %s", info->version,
					info->ssl_version ? info->ssl_version : "no TLS");
}

char *
http_client_problem(void)
{
	const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);

	if (info->version_num < LIBCURL_VERSION_NUM)
		return psprintf("signalsmith was built with version %s", LIBCURL_VERSION);
	if ((info->features & CURL_VERSION_SSL) == 0)
		return pstrdup("it cannot do TLS");
	if ((info->features & CURL_VERSION_ASYNCHDNS) == 0)
		return pstrdup("it cannot look up names without blocking");
	return NULL;
}

/* Whether the file can be read and holds a certificate. */
static char *
file_problem(const char *path)
{
	char		text[LOOKED_AT + 1];
	size_t		length;
	FILE	   *file = AllocateFile(path, "r");

	if (file == NULL)
		return psprintf("cannot be read: %m");
	length = fread(text, 1, LOOKED_AT, file);
	FreeFile(file);
	text[length] = '\0';
	return strstr(text, "-----BEGIN") ? NULL : pstrdup("does not begin with a certificate");
}

char *
http_authorities(char **problem)
{
	const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);

	*problem = NULL;
	if (setting_ca_file != NULL && setting_ca_file[0] != '\0')
	{
		*problem = file_problem(setting_ca_file);
		return pstrdup(setting_ca_file);
	}
	if (info->cainfo != NULL)
	{
		*problem = file_problem(info->cainfo);
		return pstrdup(info->cainfo);
	}
	if (info->capath != NULL && access(info->capath, R_OK | X_OK) == 0)
		return pstrdup(info->capath);
	*problem = pstrdup("libcurl knows none");
	return pstrdup("none");
}

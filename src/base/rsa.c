/*
 * rsa.c
 *		RSA signatures, as JSON Web Tokens have them.
 *
 * Keys are parsed by the OpenSSL that the server links, at each use; nothing of
 * them is kept, and copies of their text are wiped.  Nothing here raises while
 * something of OpenSSL's is held, but for want of memory.
 */
#include "postgres.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/rsa.h"

/* RFC 7518 allows no shorter ones. */
#define MIN_KEY_BITS 2048

/* Whoever copies a key out of a JSON file has its line ends as \n. */
static char *
unescape_line_ends(const char *pem)
{
	char	   *text = palloc(strlen(pem) + 1);
	char	   *to = text;

	while (*pem != '\0')
	{
		if (pem[0] == '\\' && pem[1] == 'n')
		{
			*to++ = '\n';
			pem += 2;
		}
		else
			*to++ = *pem++;
	}
	*to = '\0';
	return text;
}

/* OpenSSL would ask at the terminal. */
static int
no_passphrase(char *buffer, int size, int writing, void *arg)
{
	return 0;
}

/* NULL: it is no such key. */
static EVP_PKEY *
read_private_key(const char *pem)
{
	char	   *text = unescape_line_ends(pem);
	BIO		   *source = BIO_new_mem_buf(text, -1);
	EVP_PKEY   *key = NULL;

	if (source != NULL)
		key = PEM_read_bio_PrivateKey(source, NULL, no_passphrase, NULL);
	BIO_free(source);
	explicit_bzero(text, strlen(text));
	pfree(text);
	if (key != NULL &&
		(EVP_PKEY_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_bits(key) < MIN_KEY_BITS))
	{
		EVP_PKEY_free(key);
		key = NULL;
	}
	ERR_clear_error();
	return key;
}

bool
rsa_is_private_key(const char *pem)
{
	EVP_PKEY   *key = read_private_key(pem);
	bool		is_key = key != NULL;

	EVP_PKEY_free(key);
	return is_key;
}

/* Signs into a buffer of EVP_PKEY_size bytes. */
static bool
sign(EVP_PKEY *key, const char *data, size_t length, unsigned char *signature, size_t *size)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool		ok;

	ok = context != NULL &&
		EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestSign(context, signature, size, (const unsigned char *) data, length) == 1;
	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return ok;
}

bool
rsa_sign_sha256(const char *pem, const char *data, size_t length, StringInfo signature)
{
	EVP_PKEY   *key = read_private_key(pem);
	unsigned char buffer[1024 * 2];	/* of a key of 16384 bits */
	size_t		size = sizeof(buffer);
	bool		ok;

	if (key == NULL)
		return false;
	ok = EVP_PKEY_size(key) <= (int) sizeof(buffer) && sign(key, data, length, buffer, &size);
	EVP_PKEY_free(key);
	if (ok)
		appendBinaryStringInfo(signature, (char *) buffer, size);
	return ok;
}

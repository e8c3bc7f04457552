/*
 * vault.c
 *		Encrypting secrets with a key that is outside the database.
 *
 * No message says where the key file is, which only superusers may know, nor
 * anything of what is in it.
 */
#include "postgres.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/settings.h"
#include "base/vault.h"

#define KEY_BYTES 32
#define KEY_DIGITS (2 * KEY_BYTES)
#define NONCE_BYTES 12
#define TAG_BYTES 16
#define MAX_KEYS 16

/* Enough for MAX_KEYS lines; a key file has no reason to be longer. */
#define MAX_FILE_BYTES (MAX_KEYS * (KEY_DIGITS + 2))

typedef struct KeyRing
{
	int			count;
	uint8		keys[MAX_KEYS][KEY_BYTES];
} KeyRing;

/* --- the key file --- */

/* Returns a descriptor, or -1 and what is the matter. */
static int
open_key_file(const char **problem)
{
	struct stat status;
	char		path[MAXPGPATH];
	int			fd;

	if (setting_key_file == NULL || setting_key_file[0] == '\0')
	{
		*problem = "signalsmith.key_file is not set";
		return -1;
	}
	strlcpy(path, setting_key_file, sizeof(path));
	canonicalize_path(path);
	if (!is_absolute_path(path) || path_is_prefix_of_path(DataDir, path))
	{
		*problem = "signalsmith.key_file must be an absolute path outside the data directory";
		return -1;
	}
	fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0)
	{
		*problem = "the file that signalsmith.key_file names cannot be opened";
		return -1;
	}
	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) ||
		(status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
	{
		CloseTransientFile(fd);
		*problem = "the file that signalsmith.key_file names must be a file that only the server's user can read";
		return -1;
	}
	return fd;
}

static bool
parse_key(const char *digits, uint8 *key)
{
	for (int i = 0; i < KEY_BYTES; i++)
	{
		char		pair[3] = {digits[2 * i], digits[2 * i + 1], '\0'};

		if (!isxdigit((unsigned char) pair[0]) || !isxdigit((unsigned char) pair[1]))
			return false;
		key[i] = (uint8) strtol(pair, NULL, 16);
	}
	return true;
}

/* Splits the file's text into keys; false when a line is not one. */
static bool
parse_keys(char *text, KeyRing *ring)
{
	char	   *state = NULL;

	for (char *line = strtok_r(text, "\r\n", &state); line != NULL;
		 line = strtok_r(NULL, "\r\n", &state))
	{
		if (strlen(line) != KEY_DIGITS || ring->count == MAX_KEYS ||
			!parse_key(line, ring->keys[ring->count]))
			return false;
		ring->count++;
	}
	return ring->count > 0;
}

/* Returns NULL, or what is the matter. */
static const char *
read_key_ring(KeyRing *ring)
{
	const char *problem = NULL;
	char		text[MAX_FILE_BYTES + 1];
	ssize_t		length;
	int			fd = open_key_file(&problem);

	ring->count = 0;
	if (fd < 0)
		return problem;
	length = read(fd, text, MAX_FILE_BYTES);
	CloseTransientFile(fd);
	text[Max(length, 0)] = '\0';
	if (length < 0 || !parse_keys(text, ring))
		problem = "the file that signalsmith.key_file names must have 64 hexadecimal digits on each line";
	explicit_bzero(text, sizeof(text));
	return problem;
}

static void
load_key_ring(KeyRing *ring)
{
	const char *problem = read_key_ring(ring);

	if (problem == NULL)
		return;
	explicit_bzero(ring, sizeof(KeyRing));
	ereport(ERROR,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("secrets cannot be used: %s", problem),
			 errhint("Make a key with \"openssl rand -hex 32\" in a file outside the data directory that only the server's user can read, set signalsmith.key_file to it, and reload the configuration.")));
}

char *
vault_problem(void)
{
	KeyRing		ring;
	const char *problem = read_key_ring(&ring);

	explicit_bzero(&ring, sizeof(ring));
	return problem ? pstrdup(problem) : NULL;
}

/* A name for a key that tells nothing of it. */
static void
compute_key_id(const uint8 *key, char key_id[VAULT_KEY_ID_LENGTH + 1])
{
	static const char label[] = "signalsmith key id";
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);

	if (pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, (const uint8 *) label, sizeof(label)) < 0 ||
		pg_cryptohash_update(context, key, KEY_BYTES) < 0 ||
		pg_cryptohash_final(context, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a key id: %s", pg_cryptohash_error(context));
	pg_cryptohash_free(context);
	hex_encode((const char *) digest, VAULT_KEY_ID_LENGTH / 2, key_id);
	key_id[VAULT_KEY_ID_LENGTH] = '\0';
}

void
vault_current_key_id(char key_id[VAULT_KEY_ID_LENGTH + 1])
{
	KeyRing		ring;

	load_key_ring(&ring);
	compute_key_id(ring.keys[0], key_id);
	explicit_bzero(&ring, sizeof(ring));
}

/* --- sealing and opening --- */

static bool
encrypt(const uint8 *key, const uint8 *nonce, const char *context,
		const char *secret, int length, uint8 *ciphertext, uint8 *tag)
{
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	int			written;
	bool		ok;

	ok = cipher != NULL &&
		EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
		EVP_EncryptUpdate(cipher, NULL, &written, (const uint8 *) context, strlen(context)) == 1 &&
		EVP_EncryptUpdate(cipher, ciphertext, &written, (const uint8 *) secret, length) == 1 &&
		EVP_EncryptFinal_ex(cipher, ciphertext + written, &written) == 1 &&
		EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, tag) == 1;
	EVP_CIPHER_CTX_free(cipher);
	return ok;
}

static bool
decrypt(const uint8 *key, const uint8 *nonce, const char *context,
		const uint8 *ciphertext, int length, const uint8 *tag, char *secret)
{
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	int			written;
	bool		ok;

	ok = cipher != NULL &&
		EVP_DecryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
		EVP_DecryptUpdate(cipher, NULL, &written, (const uint8 *) context, strlen(context)) == 1 &&
		EVP_DecryptUpdate(cipher, (uint8 *) secret, &written, ciphertext, length) == 1 &&
		EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, (void *) tag) == 1 &&
		EVP_DecryptFinal_ex(cipher, (uint8 *) secret + written, &written) == 1;
	EVP_CIPHER_CTX_free(cipher);
	return ok;
}

void
vault_seal(const char *secret, const char *context, SealedSecret *sealed)
{
	int			length = strlen(secret);
	int			size = NONCE_BYTES + length + TAG_BYTES;
	bytea	   *result = palloc(VARHDRSZ + size);
	uint8	   *nonce = (uint8 *) VARDATA(result);
	KeyRing		ring;
	bool		ok;

	SET_VARSIZE(result, VARHDRSZ + size);
	load_key_ring(&ring);
	compute_key_id(ring.keys[0], sealed->key_id);
	ok = pg_strong_random(nonce, NONCE_BYTES) &&
		encrypt(ring.keys[0], nonce, context, secret, length,
				nonce + NONCE_BYTES, nonce + NONCE_BYTES + length);
	explicit_bzero(&ring, sizeof(ring));
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not encrypt a secret")));
	sealed->sealed = result;
}

/* The key with this id, or NULL. */
static const uint8 *
find_key(const KeyRing *ring, const char *key_id)
{
	for (int i = 0; i < ring->count; i++)
	{
		char		candidate[VAULT_KEY_ID_LENGTH + 1];

		compute_key_id(ring->keys[i], candidate);
		if (strcmp(candidate, key_id) == 0)
			return ring->keys[i];
	}
	return NULL;
}

char *
vault_open(const SealedSecret *sealed, const char *context)
{
	int			length = VARSIZE_ANY_EXHDR(sealed->sealed) - NONCE_BYTES - TAG_BYTES;
	const uint8 *nonce = (const uint8 *) VARDATA_ANY(sealed->sealed);
	char	   *secret;
	const uint8 *key;
	KeyRing		ring;
	bool		found;
	bool		ok = false;

	if (length < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a stored secret is damaged")));
	secret = palloc0(length + 1);

	/* A process with open secrets in its memory leaves no core file any more. */
	(void) prctl(PR_SET_DUMPABLE, 0);
	load_key_ring(&ring);
	key = find_key(&ring, sealed->key_id);
	found = key != NULL;
	if (found)
		ok = decrypt(key, nonce, context, nonce + NONCE_BYTES, length,
					 nonce + NONCE_BYTES + length, secret);
	explicit_bzero(&ring, sizeof(ring));

	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("a secret was encrypted with a key that signalsmith.key_file does not have"),
				 errhint("Add the key as a further line, or set the secret again with signalsmith.set_secret.")));
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a stored secret is damaged, or was moved from another destination"),
				 errhint("Set the secret again with signalsmith.set_secret.")));
	return secret;
}

void
vault_wipe(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
}

/*
 * fuzz_secret.c
 *		Secrets that are keys: text, base64, hexadecimal, or whsec_ and base64.
 *
 * The first byte says which.
 */
#include "postgres.h"

#include "harness.h"

static const char *secret_value;

static const char *
give_secret(void *arg, const char *name)
{
	return secret_value;
}

void
fuzz_secret(const char *data, size_t length)
{
	static const char *const formats[] = {"text", "base64", "hex", "whsec"};
	Connector  *connector;

	if (length == 0 || (secret_value = text_of(data + 1, length - 1)) == NULL ||
		secret_value[0] == '\0')
		return;
	connector = compile_manifest("fuzz", jsonb_of(psprintf(
														   "{\"base_url\": \"https://example.com\", \"secrets\": {\"key\": {}},"
														   " \"headers\": {\"X-Key\": \"{{secret.key}}\"},"
														   " \"auth\": {\"hmac\": {\"secret\": \"key\", \"key\": \"%s\", \"sign\": \"{{body}}\", \"headers\": {\"X-Signature\": \"{{signature}}\"}},"
														   "  \"basic\": {\"user\": \"u\", \"password\": \"{{secret.key}}\"}, \"query\": {\"k\": \"{{secret.key}}\"}},"
														   " \"operations\": {\"create\": {\"request\": {\"method\": \"POST\", \"path\": \"/\", \"body\": \"{{fields}}\"}}}}",
														   formats[(unsigned char) data[0] % lengthof(formats)])));
	connector_check_secret(connector, "key", secret_value);
	connector_set_secrets(connector, give_secret, NULL);
	check_rendered(connector, example_batch(connector, OPERATION_CREATE));
}

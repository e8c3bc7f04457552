/*
 * fuzz_manifest.c
 *		Manifests: read one, and where it is good, use it.
 */
#include "postgres.h"

#include "harness.h"

static const struct
{
	int			status;
	const char *body;
}			answers[] =
{
	{200, ""},
	{200, "{\"id\": 7, \"status\": \"ok\", \"results\": [{\"id\": 1, \"status\": 400, \"error\": {\"message\": \"bad\"}}, null], \"errors\": [{\"index\": 1}]}"},
	{400, "{\"error\": {\"code\": 17, \"message\": \"no\"}, \"errors\": [\"a\", {\"message\": 1, \"index\": -1}]}"},
	{207, "[{\"status\": 201}, {\"status\": 500}, {\"status\": \"x\"}]"},
	{200, "{\"items\": [{\"index\": {\"status\": 409, \"_id\": \"1\"}}]}\n{\"a\": 1}\n"}
};

void
fuzz_manifest(const char *data, size_t length)
{
	char	   *text = text_of(data, length);
	Connector  *connector;

	if (text == NULL)
		return;
	connector = compile_manifest("fuzz", jsonb_of(text));
	if (connector_table(connector) != NULL)
		return;					/* it sends no requests */
	for (Operation operation = 0; operation < OPERATION_COUNT; operation++)
	{
		Batch	   *batch;

		if (!connector_has_operation(connector, operation))
			continue;
		batch = example_batch(connector, operation);
		check_rendered(connector, batch);
		for (int i = 0; i < (int) lengthof(answers); i++)
			check_attributed(connector, batch, answers[i].status, "Retry-After: 3\r\nX-Permanent: true\r\n",
							 answers[i].body, strlen(answers[i].body));
	}
}

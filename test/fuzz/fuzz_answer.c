/*
 * fuzz_answer.c
 *		Answers, to each of the shipped connectors.
 *
 * An input is "CONNECTOR OPERATION STATUS", lines of headers, an empty line, and
 * the body, which may hold any byte.
 */
#include "postgres.h"

#include <dirent.h>

#include "utils/memutils.h"

#include "connector/jsonb_reader.h"

#include "harness.h"

#define MAX_CONNECTORS 100

static struct
{
	char	   *name;
	Connector  *connector;
}			connectors[MAX_CONNECTORS];
static int	connector_count = 0;

static char *
read_file(const char *path)
{
	FILE	   *file = fopen(path, "rb");
	char	   *text = palloc0(1024 * 1024);

	must(file != NULL && fread(text, 1, 1024 * 1024 - 1, file) > 0);
	fclose(file);
	return text;
}

/* All shipped ones can be used as they are, but for what their config has to say. */
static Connector *
compile_shipped(const char *name, Jsonb *manifest)
{
	Connector  *connector = NULL;

	PG_TRY();
	{
		connector = compile_manifest(name, manifest);
	}
	PG_CATCH();
	{
		must_fail(name, __FILE__, __LINE__);
	}
	PG_END_TRY();
	return connector;
}

/* From the directory that SIGNALSMITH_MANIFESTS names. */
static void
load_connectors(void)
{
	const char *directory = getenv("SIGNALSMITH_MANIFESTS");
	MemoryContext old_context = MemoryContextSwitchTo(TopMemoryContext);
	struct dirent *entry;
	DIR		   *files;

	must(directory != NULL && (files = opendir(directory)) != NULL);
	while ((entry = readdir(files)) != NULL)
	{
		size_t		length = strlen(entry->d_name);
		Jsonb	   *manifest;
		JsonbValue	root;
		JsonbValue	ignored;

		if (length < 5 || strcmp(entry->d_name + length - 5, ".json") != 0)
			continue;
		manifest = jsonb_of(read_file(psprintf("%s/%s", directory, entry->d_name)));
		root = jsonb_root(manifest);
		if (!jsonb_member(&root, "operations", &ignored) && !jsonb_member(&root, "objects", &ignored))
			continue;
		must(connector_count < MAX_CONNECTORS);
		connectors[connector_count].name = pnstrdup(entry->d_name, length - 5);
		connectors[connector_count].connector =
			compile_shipped(connectors[connector_count].name, manifest);
		if (connector_table(connectors[connector_count].connector) == NULL)
			connector_count++;	/* the others get no answers */
	}
	closedir(files);
	MemoryContextSwitchTo(old_context);
}

static Connector *
find_connector(const char *name)
{
	for (int i = 0; i < connector_count; i++)
		if (strcmp(name, connectors[i].name) == 0)
			return connectors[i].connector;
	return connectors[(unsigned char) name[0] % connector_count].connector;
}

void
fuzz_answer(const char *data, size_t length)
{
	char	   *text = palloc(length + 1);
	char		name[33] = "webhook";
	char		operation_word[17] = "create";
	int			status = 200;
	char	   *headers;
	char	   *body;
	Connector  *connector;
	Operation	operation;

	if (connector_count == 0)
		load_connectors();
	memcpy(text, data, length);
	text[length] = '\0';
	if (memchr(text, '\n', length) == NULL)
		return;
	(void) sscanf(take_line(text, &headers), "%32s %16s %d", name, operation_word, &status);
	connector = find_connector(name);
	operation = operation_word[0] == 'd' ? OPERATION_DELETE :
		operation_word[0] == 'u' ? OPERATION_UPDATE : OPERATION_CREATE;
	if (!connector_has_operation(connector, operation))
		return;

	body = strstr(headers, "\n\n");
	if (body != NULL)
	{
		body[1] = '\0';
		body += 2;
	}
	else
		body = text + length;
	check_attributed(connector, example_batch(connector, operation), abs(status % 1000),
					 headers, body, text + length - body);
}

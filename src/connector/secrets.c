/*
 * secrets.c
 *		The secrets that a connector knows by name.
 *
 * A name is known when the manifest declares it, or where nothing is declared,
 * refers to it: whoever sets another one has made a mistake, and would learn it
 * only from a destination that refuses the run.
 */
#include "postgres.h"

#include "connector/connector_internal.h"

void
connector_set_secrets(Connector *connector, SecretReader secret, void *arg)
{
	connector->secret = secret;
	connector->secret_arg = arg;
}

/* Zeros are a key in any format. */
const char *
connector_placeholder(const Connector *connector, const char *name)
{
	const char *placeholder = psprintf("[%s]", name);

	if (auth_secret_fault(&connector->auth, name, placeholder) != NULL)
		return "00000000000000000000000000000000";
	return placeholder;
}

static const char *
read_placeholder(void *arg, const char *name)
{
	return connector_placeholder(arg, name);
}

void
connector_set_placeholders(Connector *connector)
{
	connector_set_secrets(connector, read_placeholder, connector);
	connector_set_token_placeholder(connector);
}

void
connector_set_token_placeholder(Connector *connector)
{
	connector->token_placeholder = true;
}

static const SecretSpec *
find_secret(const Connector *connector, const char *name)
{
	for (int i = 0; i < connector->secret_count; i++)
		if (strcmp(connector->secrets[i].name, name) == 0)
			return &connector->secrets[i];
	return NULL;
}

static void
unknown_secret(const Connector *connector, const char *name)
{
	const char **names = palloc(connector->secret_count * sizeof(char *));

	for (int i = 0; i < connector->secret_count; i++)
		names[i] = connector->secrets[i].name;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the destination uses no secret \"%s\"", name),
			 connector->secret_count == 0 ?
			 errdetail("It uses no secrets.") : 0,
			 connector->secret_count == 0 ?
			 errhint("Refer to it in the destination's config first, as in {\"Authorization\": \"Bearer {{secret.%s}}\"}.", name) :
			 errhint("%s", choice_hint(name, names, connector->secret_count))));
}

void
connector_check_secret(const Connector *connector, const char *name, const char *value)
{
	const char *fault;

	if (find_secret(connector, name) == NULL)
		unknown_secret(connector, name);
	fault = auth_secret_fault(&connector->auth, name, value);
	if (fault != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the secret \"%s\" cannot have this value", name),
				 errdetail("%s", fault)));
}

int
connector_needed_secrets(const Connector *connector, const char ***names)
{
	int			count = 0;

	*names = palloc(Max(connector->secret_count, 1) * sizeof(char *));
	for (int i = 0; i < connector->secret_count; i++)
		if (connector->secrets[i].needed)
			(*names)[count++] = connector->secrets[i].name;
	return count;
}

void
connector_require_secrets(const Connector *connector, const char *destination_name)
{
	for (int i = 0; i < connector->secret_count; i++)
	{
		const SecretSpec *secret = &connector->secrets[i];

		if (secret->needed && connector->secret(connector->secret_arg, secret->name) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the secret \"%s\" of destination \"%s\" is not set",
							secret->name, destination_name),
					 errhint("Use SELECT signalsmith.set_secret('%s', '%s', value).",
							 destination_name, secret->name)));
	}
}

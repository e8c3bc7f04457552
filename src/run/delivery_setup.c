/*
 * delivery_setup.c
 *		Everything a delivery needs before its first request.
 *
 * One transaction reads it all.  The definition is the one that the plan was
 * made with: a destination that was changed since then must not change the
 * bytes of a batch that may have been sent.  Secrets are opened here and not
 * before: while the owner's SQL ran, there were none in this process.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "base/settings.h"
#include "base/vault.h"
#include "plan/plan.h"
#include "run/delivery_setup.h"
#include "run/token_renewal.h"
#include "store/scope.h"
#include "store/secret.h"
#include "store/transaction.h"

static char *
to_utf8(const char *text)
{
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

static void
open_secrets(DeliverySecrets *secrets, int64 destination_id)
{
	SecretList *list = secrets_read(destination_id);

	secrets->count = list->count;
	secrets->names = palloc(list->count * sizeof(char *));
	secrets->values = palloc0((list->count + LATE_SECRETS) * sizeof(char *));
	for (int i = 0; i < list->count; i++)
	{
		char	   *value = to_utf8(list->secrets[i].value);

		secrets->names[i] = to_utf8(list->secrets[i].name);
		secrets->values[i] = pstrdup(value);
		if (value != list->secrets[i].value)
			vault_wipe(value);
	}
	secrets_wipe(list);
}

static const char *
read_secret(void *arg, const char *name)
{
	const DeliverySecrets *secrets = arg;

	for (int i = 0; i < secrets->count; i++)
		if (strcmp(secrets->names[i], name) == 0)
			return secrets->values[i];
	return NULL;
}

void
delivery_wipe_secrets(Delivery *delivery)
{
	for (int i = 0; i < delivery->secrets.count + LATE_SECRETS; i++)
	{
		vault_wipe(delivery->secrets.values[i]);
		delivery->secrets.values[i] = NULL;
	}
	delivery->secrets.count = 0;
}

/* As many as the sync wants and the connector allows. */
static int
choose_max_in_flight(const Delivery *delivery)
{
	int			allowed = connector_limits(delivery->connector, OPERATION_CREATE).max_in_flight;
	int			wanted = delivery->definition->max_in_flight;

	if (wanted == 0)
		return allowed > 0 ? allowed : setting_max_in_flight;
	return allowed > 0 ? Min(allowed, wanted) : wanted;
}

static void
set_up_connector(Delivery *delivery)
{
	const SyncDefinition *definition = delivery->definition;

	delivery->facts.sync_id = psprintf("sync_" INT64_FORMAT, definition->sync_id);
	delivery->facts.sync_name = to_utf8(definition->sync_name);
	delivery->facts.sync_mode = definition->mode_name;
	delivery->facts.run_id = psprintf("run_" INT64_FORMAT, delivery->claim->run_id);
	delivery->connector = connector_of_sync(definition);
	delivery->token = token_renewal_create(definition, delivery->connector);
	open_secrets(&delivery->secrets, definition->destination_id);
	connector_set_secrets(delivery->connector, read_secret, &delivery->secrets);
	connector_require_secrets(delivery->connector, definition->destination_name);
	delivery->max_in_flight = choose_max_in_flight(delivery);
}

/*
 * If not, what a crash leaves begun may not be sent again, and no more should be
 * begun than has to be.
 */
static bool
all_is_idempotent(const Connector *connector)
{
	for (int i = 0; i < OPERATION_COUNT; i++)
		if (connector_has_operation(connector, (Operation) i) &&
			!connector_is_idempotent(connector, (Operation) i))
			return false;
	return true;
}

/*
 * A statement may take its time, and its process cannot say meanwhile that it is
 * alive.
 */
static void
set_up_table(Delivery *delivery)
{
	const TableSpec *table = connector_table(delivery->connector);
	int			lease_seconds;

	if (table == NULL)
		return;
	delivery->table = target_writer_create(table, delivery->definition);
	lease_seconds = LEASE_SECONDS + delivery->definition->timeout_ms / 1000;
	run_extend_lease(delivery->claim, lease_seconds);
	acknowledgement_lease(delivery->group, lease_seconds);
}

static void
set_up_queues(Delivery *delivery)
{
	const RunClaim *claim = delivery->claim;
	const SyncDefinition *definition = delivery->definition;

	delivery->gate = destination_gate_open(definition->destination_id,
										   definition->breaker_open_ms,
										   definition->rest_ms, claim->manual);
	delivery->parking = parking_create();
	delivery->queue = batch_queue_create(claim->run_id, claim->deletes_held > 0,
										 all_is_idempotent(delivery->connector));
	delivery->group = acknowledgement_group_create(claim,
												   plan_key_width(definition),
												   plan_stores_identities(definition) ||
												   connector_captures(delivery->connector),
												   claim->creates_supersede);
	dlist_init(&delivery->in_flight);
}

/*
 * Asked before the run was started, and again before secrets are opened: the
 * model may have taken hours, and the right to the destination be gone.
 */
static void
check_rights(const RunClaim *claim)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *obstacle;
	Scope		scope;

	scope_enter(&scope);
	scope_execute("SELECT signalsmith._obstacle_of($1)", "l",
				  Int64GetDatum(claim->sync_id));
	obstacle = scope_text(0, 1, context);
	scope_leave(&scope);
	if (obstacle)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("%s", obstacle)));
}

Delivery *
delivery_set_up(const RunClaim *claim)
{
	MemoryContext context = CurrentMemoryContext;
	Delivery   *delivery = palloc0(sizeof(Delivery));
	SyncDefinition *definition;

	transaction_begin();
	MemoryContextSwitchTo(context);
	check_rights(claim);
	definition = definition_read(claim->sync_id);
	run_read_frozen_definition(claim->run_id, definition);
	delivery->claim = claim;
	delivery->definition = definition;
	delivery->context = context;
	delivery->end = DELIVERY_COMPLETE;
	set_up_connector(delivery);
	set_up_queues(delivery);
	set_up_table(delivery);
	transaction_commit();

	MemoryContextSwitchTo(context);
	delivery->answer_context = AllocSetContextCreate(context, "signalsmith answer",
													 ALLOCSET_DEFAULT_SIZES);
	delivery->transport = transport_create(context);
	return delivery;
}

-- The tables.  All that signalsmith knows is here; none is made at run time,
-- none is unlogged, each has a primary key and goes into pg_dump.  Nobody but
-- the extension's owner reads or writes them: the functions and views do.

CREATE TABLE signalsmith.connector (
    name        text PRIMARY KEY,
    manifest    jsonb NOT NULL,
    builtin     boolean NOT NULL DEFAULT false,
    owner       regrole NOT NULL DEFAULT current_user::regrole,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE signalsmith.connector IS 'kinds of destination API: a manifest each';
COMMENT ON COLUMN signalsmith.connector.builtin IS 'shipped with the extension, replaced by its upgrades, not dumped';

CREATE TABLE signalsmith.model (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    description text,
    source      text NOT NULL DEFAULT 'local',
    query       text NOT NULL,
    search_path text NOT NULL,
    primary_key text[] NOT NULL,
    identifiers text[],
    columns     jsonb NOT NULL,
    owner       regrole NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE signalsmith.model IS 'models: a SELECT and the columns that identify its rows';
COMMENT ON COLUMN signalsmith.model.search_path IS 'the search_path of the session that saved the query, in force whenever it runs';
COMMENT ON COLUMN signalsmith.model.columns IS 'result columns when the query was saved: [{"name", "type"}], in order';

CREATE TABLE signalsmith.destination (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    description text,
    connector   text NOT NULL REFERENCES signalsmith.connector,
    config      jsonb NOT NULL DEFAULT '{}',
    owner       regrole NOT NULL,
    breaker_until timestamptz,
    rests_until timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE signalsmith.destination IS 'destinations: an API, described by a connector, and its settings';
COMMENT ON COLUMN signalsmith.destination.breaker_until IS 'it could not be reached, and is left alone until then';
COMMENT ON COLUMN signalsmith.destination.rests_until IS 'it asked to be left alone until then, which is longer than a run waits; no schedule starts a run before';

CREATE TABLE signalsmith.destination_share (
    destination_id  bigint NOT NULL REFERENCES signalsmith.destination ON DELETE CASCADE,
    role            regrole NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (destination_id, role)
);
COMMENT ON TABLE signalsmith.destination_share IS 'roles that may use a destination without managing it';

CREATE TABLE signalsmith.secret (
    destination_id  bigint NOT NULL REFERENCES signalsmith.destination ON DELETE CASCADE,
    name            text NOT NULL,
    key_id          text NOT NULL,
    sealed          bytea NOT NULL,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (destination_id, name)
);
COMMENT ON TABLE signalsmith.secret IS 'secrets of destinations, encrypted with a key outside the database';
COMMENT ON COLUMN signalsmith.secret.key_id IS 'which key of signalsmith.key_file opens it';
COMMENT ON COLUMN signalsmith.secret.sealed IS 'nonce, ciphertext and tag of AES-256-GCM';

CREATE TABLE signalsmith.token (
    destination_id  bigint PRIMARY KEY REFERENCES signalsmith.destination ON DELETE CASCADE,
    generation      bigint NOT NULL DEFAULT 0,
    basis           text,
    key_id          text,
    sealed          bytea,
    obtained_at     timestamptz,
    renew_at        timestamptz,
    refresh_key_id  text,
    refresh_sealed  bytea,
    refresh_secret  text,
    refresh_secret_set_at timestamptz,
    -- Who asks for the next one.
    lease           bigint NOT NULL DEFAULT 0,
    lease_until     timestamptz,
    lease_pid       integer,
    lease_process_started_at timestamptz
);
COMMENT ON TABLE signalsmith.token IS 'access tokens that destinations gave, encrypted as secrets are, for all runs together';
COMMENT ON COLUMN signalsmith.token.generation IS 'how many tokens there have been: who was refused with one asks for the next';
COMMENT ON COLUMN signalsmith.token.basis IS 'digest of what the token was asked for with; under any other it is none';
COMMENT ON COLUMN signalsmith.token.sealed IS 'the token, and what the answer had beside it; sealed as secret.sealed';
COMMENT ON COLUMN signalsmith.token.renew_at IS 'it is not used from then on; NULL: until it is refused';
COMMENT ON COLUMN signalsmith.token.refresh_sealed IS 'the refresh token that came in place of the secret, for as long as that is not set anew';
COMMENT ON COLUMN signalsmith.token.lease IS 'fencing token, raised by each process that asks';

CREATE TABLE signalsmith.sync (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text NOT NULL UNIQUE,
    description     text,
    model_id        bigint NOT NULL REFERENCES signalsmith.model,
    destination_id  bigint NOT NULL REFERENCES signalsmith.destination,
    mode            text NOT NULL CHECK (mode IN ('upsert', 'mirror', 'append', 'update', 'insert')),
    field_mappings  jsonb,
    schedule        jsonb NOT NULL,
    object          text,
    options         jsonb NOT NULL DEFAULT '{}',
    status          text NOT NULL DEFAULT 'created'
                    CHECK (status IN ('created', 'active', 'paused', 'error', 'archived')),
    status_error    text,
    failed_in_a_row integer NOT NULL DEFAULT 0,
    hold_next_deletes boolean NOT NULL DEFAULT false,
    next_run_at     timestamptz,
    last_run_id     bigint,
    last_synced_at  timestamptz,
    -- What the snapshot was taken with: a snapshot means nothing under another
    -- key or at another object.
    snapshot_key    text,
    snapshot_rows   bigint NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sync_model ON signalsmith.sync (model_id);
CREATE INDEX sync_destination ON signalsmith.sync (destination_id);
CREATE INDEX sync_due ON signalsmith.sync (next_run_at) WHERE next_run_at IS NOT NULL;
COMMENT ON TABLE signalsmith.sync IS 'syncs: a model, a destination, and how the one goes to the other; a sync belongs to its model''s owner';
COMMENT ON COLUMN signalsmith.sync.field_mappings IS 'canonical list of mappings; NULL: every column of the model under its own name';
COMMENT ON COLUMN signalsmith.sync.failed_in_a_row IS 'failed runs since the last one that was not';
COMMENT ON COLUMN signalsmith.sync.hold_next_deletes IS 'the server has another history since the last run: its next deletes wait';
COMMENT ON COLUMN signalsmith.sync.snapshot_rows IS 'records in the snapshot, as of the last finished run';
COMMENT ON COLUMN signalsmith.sync.snapshot_key IS 'key columns, their types and the object that the snapshot belongs to; NULL: no snapshot';

CREATE TABLE signalsmith.run (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sync_id         bigint NOT NULL REFERENCES signalsmith.sync,
    trigger         text NOT NULL CHECK (trigger IN ('manual', 'schedule', 'api')),
    status          text NOT NULL DEFAULT 'queued'
                    CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled', 'held')),
    phase           text CHECK (phase IN ('plan', 'deliver')),
    full_resync     boolean NOT NULL DEFAULT false,
    cancel_requested boolean NOT NULL DEFAULT false,
    queued_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at      timestamptz,
    planned_at      timestamptz,
    finished_at     timestamptz,
    -- How often a runner was started for it since it last got anywhere.
    starts          integer NOT NULL DEFAULT 0,
    crashes         integer NOT NULL DEFAULT 0,
    start_after     timestamptz,
    -- Who works on it.  Every claim raises the lease; whoever records anything
    -- names the lease it claimed, and is refused once somebody else took over.
    lease           bigint NOT NULL DEFAULT 0,
    lease_until     timestamptz,
    runner_pid      integer,
    runner_started_at timestamptz,
    dismissed       boolean NOT NULL DEFAULT false,
    -- What the deliveries of this run are made with, frozen with the plan.
    definition      jsonb,
    rows_processed  bigint NOT NULL DEFAULT 0,
    rows_created    bigint NOT NULL DEFAULT 0,
    rows_updated    bigint NOT NULL DEFAULT 0,
    rows_deleted    bigint NOT NULL DEFAULT 0,
    rows_failed     bigint NOT NULL DEFAULT 0,
    rows_unchanged  bigint NOT NULL DEFAULT 0,
    changes_planned bigint NOT NULL DEFAULT 0,
    deletes_held    bigint NOT NULL DEFAULT 0,
    after_recovery  boolean NOT NULL DEFAULT false,
    creates_supersede boolean NOT NULL DEFAULT true,
    batches_planned bigint NOT NULL DEFAULT 0,
    batches_sent    bigint NOT NULL DEFAULT 0,
    requests        bigint NOT NULL DEFAULT 0,
    bytes_sent      bigint NOT NULL DEFAULT 0,
    bytes_staged    bigint NOT NULL DEFAULT 0,
    snapshot_rows   bigint,
    query_ms        double precision,
    diff_ms         double precision,
    stage_ms        double precision,
    deliver_ms      double precision,
    request_times   bigint[] NOT NULL DEFAULT '{}',
    peak_memory     bigint,
    error           text
);
CREATE INDEX run_sync ON signalsmith.run (sync_id, id);
CREATE INDEX run_live ON signalsmith.run (sync_id, id) WHERE status IN ('queued', 'running');
CREATE INDEX run_started ON signalsmith.run (started_at) WHERE started_at IS NOT NULL;
CREATE UNIQUE INDEX run_one_queued ON signalsmith.run (sync_id) WHERE status = 'queued' AND planned_at IS NULL;
CREATE UNIQUE INDEX run_one_running ON signalsmith.run (sync_id) WHERE status = 'running';
COMMENT ON INDEX signalsmith.run_live IS 'the few that the scheduler looks at, however long the history';
COMMENT ON INDEX signalsmith.run_started IS 'which owners had their turn last';
COMMENT ON INDEX signalsmith.run_one_queued IS 'triggers coalesce; a run of approved deletes, planned when it is queued, stands apart';
COMMENT ON COLUMN signalsmith.run.deletes_held IS 'deletes of this run that wait in the outbox for approve_deletes';
COMMENT ON COLUMN signalsmith.run.after_recovery IS 'deletes are held because of sync.hold_next_deletes';
COMMENT ON COLUMN signalsmith.run.creates_supersede IS 'keys that it creates may have older entries in the snapshot';
COMMENT ON COLUMN signalsmith.run.snapshot_rows IS 'records in the snapshot when the run was planned';
COMMENT ON TABLE signalsmith.run IS 'runs: one execution of a sync each, with its figures';
COMMENT ON COLUMN signalsmith.run.lease IS 'fencing token, raised by each claim';
COMMENT ON COLUMN signalsmith.run.dismissed IS 'its runner gave no sign of life and was asked to leave';
COMMENT ON COLUMN signalsmith.run.request_times IS 'how many requests took how long: see _request_time_ms';
COMMENT ON COLUMN signalsmith.run.definition IS 'connector manifest, config, mode and options that this run delivers with';

-- A sync that delivers alerts is one for each owner and destination.
CREATE TABLE signalsmith.alert (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text NOT NULL UNIQUE,
    sync_id         bigint REFERENCES signalsmith.sync,
    condition       text NOT NULL,
    options         jsonb NOT NULL DEFAULT '{}',
    delivery_sync_id bigint NOT NULL REFERENCES signalsmith.sync,
    owner           regrole NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX alert_sync ON signalsmith.alert (sync_id);
CREATE INDEX alert_delivery ON signalsmith.alert (delivery_sync_id);
COMMENT ON TABLE signalsmith.alert IS 'alerts: what is to be reported, and by which sync';
COMMENT ON COLUMN signalsmith.alert.sync_id IS 'the sync that is watched; NULL: each one that the owner may see';
COMMENT ON COLUMN signalsmith.alert.delivery_sync_id IS 'the sync that sends the events, to the alert''s destination';

CREATE TABLE signalsmith.alert_firing (
    alert_id        bigint NOT NULL REFERENCES signalsmith.alert ON DELETE CASCADE,
    sync_id         bigint NOT NULL REFERENCES signalsmith.sync ON DELETE CASCADE,
    since           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (alert_id, sync_id)
);
COMMENT ON TABLE signalsmith.alert_firing IS 'for which syncs it is so now that an alert watches for';

CREATE TABLE signalsmith.alert_event (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delivery_sync_id bigint NOT NULL REFERENCES signalsmith.sync ON DELETE CASCADE,
    alert           text NOT NULL,
    sync            text NOT NULL,
    condition       text NOT NULL,
    state           text NOT NULL CHECK (state IN ('firing', 'resolved')),
    run_id          text NOT NULL,
    text            text NOT NULL,
    occurred_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE signalsmith.alert_event IS 'changes of state that alerts tell: rows of the model that a sync delivers';

-- The engine's tables, below, have no foreign keys: the plan writes them
-- through the table access method, in the model's own read-only transaction,
-- where no trigger runs.  Deleting a sync deletes their rows by hand.

CREATE TABLE signalsmith.outbox (
    run_id          bigint NOT NULL,
    sequence        integer NOT NULL,
    operation       text NOT NULL CHECK (operation IN ('create', 'update', 'delete')),
    record_count    integer NOT NULL,
    seed            uuid NOT NULL,
    batch_ends      bytea NOT NULL,
    key_width       smallint NOT NULL,
    entries         bytea NOT NULL,
    records         bytea NOT NULL,
    attempts        integer NOT NULL DEFAULT 0,
    outcomes        bytea,
    PRIMARY KEY (run_id, sequence)
);
ALTER TABLE signalsmith.outbox
    ALTER COLUMN batch_ends SET STORAGE EXTENDED,
    ALTER COLUMN entries SET STORAGE EXTERNAL,
    ALTER COLUMN records SET STORAGE EXTENDED;
COMMENT ON TABLE signalsmith.outbox IS 'what runs have planned and not settled yet: bundles of batches, about 1,000 records each';
COMMENT ON COLUMN signalsmith.outbox.seed IS 'random; the idempotency keys of all its batches and records are derived from it';
COMMENT ON COLUMN signalsmith.outbox.batch_ends IS 'for each batch, the index after its last record: uint32, little-endian';
COMMENT ON COLUMN signalsmith.outbox.entries IS 'packed keys, then packed row hashes, of the records';
COMMENT ON COLUMN signalsmith.outbox.records IS 'for each record: lengths of key, identifier and data (uint32, little-endian), then the three as JSON text in UTF-8';
COMMENT ON COLUMN signalsmith.outbox.attempts IS 'how often a runner has begun to send it';
COMMENT ON COLUMN signalsmith.outbox.outcomes IS 'one byte a record: 0 open, else settled; NULL: all are open';

CREATE TABLE signalsmith.segment (
    sync_id         bigint NOT NULL,
    id              bigint GENERATED ALWAYS AS IDENTITY,
    record_count    integer NOT NULL,
    supersedes      boolean NOT NULL,
    key_width       smallint NOT NULL,
    entries         bytea NOT NULL,
    identities      bytea,
    PRIMARY KEY (sync_id, id)
);
ALTER TABLE signalsmith.segment
    ALTER COLUMN entries SET STORAGE EXTERNAL,
    ALTER COLUMN identities SET STORAGE EXTENDED;
COMMENT ON TABLE signalsmith.segment IS 'the snapshots: what each destination is known to hold, a segment for each group of acknowledged records';
COMMENT ON COLUMN signalsmith.segment.supersedes IS 'some of its keys may be in earlier segments too; the later segment counts';
COMMENT ON COLUMN signalsmith.segment.entries IS 'packed keys, then packed row hashes; hash 0: deleted, hash 1: unknown';
COMMENT ON COLUMN signalsmith.segment.identities IS 'for each entry key and identifier as JSON text, where they cannot be had from the packed key';

CREATE TABLE signalsmith.row_failure (
    run_id          bigint NOT NULL,
    number          bigint NOT NULL,
    sync_id         bigint NOT NULL,
    operation       text NOT NULL CHECK (operation IN ('create', 'update', 'delete')),
    key             jsonb,
    outcome         text NOT NULL CHECK (outcome IN ('rejected', 'unknown')),
    attempts        integer NOT NULL DEFAULT 0,
    http_status     integer,
    code            text,
    message         text,
    occurred_at     timestamptz NOT NULL,
    packed_key      bytea,
    row_hash        bigint,
    PRIMARY KEY (run_id, number)
);
CREATE INDEX row_failure_sync ON signalsmith.row_failure (sync_id);
COMMENT ON TABLE signalsmith.row_failure IS 'rows that failed: refused by the destination or before it, or of unknown outcome';
COMMENT ON COLUMN signalsmith.row_failure.packed_key IS 'what skip_rows knows the row by; NULL: it has no key of its own';
COMMENT ON COLUMN signalsmith.row_failure.row_hash IS 'of the mapped columns when it failed; 0: its delete failed';

CREATE TABLE signalsmith.skipped_row (
    sync_id         bigint NOT NULL REFERENCES signalsmith.sync ON DELETE CASCADE,
    id              bigint GENERATED ALWAYS AS IDENTITY,
    packed_key      bytea NOT NULL,
    row_hash        bigint NOT NULL,
    operation       text NOT NULL,
    key             jsonb,
    code            text,
    message         text,
    run_id          bigint NOT NULL,
    skipped_by      text NOT NULL,
    skipped_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sync_id, id),
    UNIQUE (sync_id, packed_key)
);
COMMENT ON TABLE signalsmith.skipped_row IS 'failed rows that somebody has accepted as they are: not planned while key and hash are these';
COMMENT ON COLUMN signalsmith.skipped_row.run_id IS 'the run that the row failed in, which may be forgotten by now';
COMMENT ON COLUMN signalsmith.skipped_row.skipped_by IS 'name of the role, as it was then';

-- Where the server has lz4: staging takes half the time of what pglz needs.
DO $$
BEGIN
    ALTER TABLE signalsmith.outbox ALTER COLUMN records SET COMPRESSION lz4;
    ALTER TABLE signalsmith.segment ALTER COLUMN identities SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END
$$;

SELECT pg_catalog.pg_extension_config_dump('signalsmith.connector', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.model', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.destination', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.destination_share', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.secret', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.token', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.sync', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.run', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.alert', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.alert_firing', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.alert_event', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.outbox', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.segment', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.row_failure', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.skipped_row', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.model_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.destination_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.sync_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.run_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.alert_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.alert_event_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.segment_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('signalsmith.skipped_row_id_seq', '');

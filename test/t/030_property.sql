-- One random sequence of edits and runs, each run checked: for 030_property.pl.
CREATE EXTENSION citext;
CREATE SCHEMA property;
CREATE COLLATION property.nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
SET search_path = property, public;
-- What the contract calls the JSON form of values.
ALTER DATABASE postgres SET TimeZone = 'UTC';

-- The sequence at hand.  "Stormy": the destination refuses some rows, and some of
-- its answers are lost.
CREATE TABLE chosen (key_type text, key_columns text[], mode text, by_identifier boolean, size int, stormy boolean);
CREATE TABLE held (key text PRIMARY KEY, data json);

CREATE FUNCTION describe() RETURNS text LANGUAGE sql AS
    $$ SELECT format('%s, %s%s, %s rows%s', mode, key_type, CASE WHEN by_identifier THEN ' with identifier' END, size,
           CASE WHEN stormy THEN ', stormy' END)
       FROM property.chosen $$;

-- The type of the first key column, to cast to, and as the column is declared.
CREATE FUNCTION key_cast(key_type text) RETURNS text LANGUAGE sql AS
    $$ SELECT CASE key_type WHEN 'composite' THEN 'text' WHEN 'nocase' THEN 'text' ELSE key_type END $$;
CREATE FUNCTION key_column(key_type text) RETURNS text LANGUAGE sql AS
    $$ SELECT property.key_cast(key_type) || CASE key_type WHEN 'nocase' THEN ' COLLATE property.nocase' ELSE '' END $$;

CREATE FUNCTION pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE AS
    $$ SELECT choices[1 + floor(random() * cardinality(choices))::int] $$;

-- A key as text, from a number: several spellings of one key, where its type has them.
CREATE FUNCTION spell(key_type text, n int) RETURNS text LANGUAGE sql VOLATILE AS
    $$ SELECT CASE key_type
           WHEN 'numeric' THEN n || property.pick('', '', '.0', '.00')
           WHEN 'citext' THEN property.pick('Key', 'kEY') || n
           WHEN 'nocase' THEN property.pick('Key', 'kEY') || n
           WHEN 'char(12)' THEN 'key ' || n || property.pick('', ' ')
           WHEN 'bigint' THEN (n * 10000000019)::text
           WHEN 'timestamptz' THEN (timestamptz '2026-01-01' + n * interval '1 minute 1 microsecond')::text
           WHEN 'uuid' THEN md5(n::text)
           WHEN 'text' THEN 'key ' || n
           ELSE n::text END $$;

-- Two hundred sequences in a row have each combination of key and mode with a large
-- table once, and with a small one three times; half of them are stormy.
CREATE PROCEDURE begin_sequence(seed int, url text) LANGUAGE plpgsql AS $$
DECLARE
    key_type text;
    chosen_mode text;
    by_identifier boolean;
    stormy boolean := (seed + seed / 10) % 2 = 1;
    rows int;
BEGIN
    PERFORM setseed(seed % 10000 / 10000.0);
    key_type := (ARRAY['int', 'bigint', 'text', 'composite', 'numeric', 'citext', 'uuid', 'char(12)', 'timestamptz', 'nocase'])[1 + seed % 10];
    chosen_mode := (ARRAY['upsert', 'mirror', 'append', 'update', 'mirror'])[1 + seed / 10 % 5];
    -- A record that moves is two changes of one key, whose outcomes could differ.
    by_identifier := random() < 0.4 AND NOT stormy;
    rows := CASE WHEN seed / 10 % 4 < 3 THEN 3 + floor(random() * 150) ELSE 4000 + floor(random() * 500) END;
    DELETE FROM property.chosen;
    DELETE FROM property.held;
    INSERT INTO property.chosen VALUES (key_type, CASE WHEN key_type = 'composite' THEN '{k1,k2}' ELSE '{k1}' END::text[],
        chosen_mode, by_identifier, rows, stormy);

    DROP TABLE IF EXISTS property.source, property.sent;
    EXECUTE format('CREATE TABLE property.source (k1 %s, k2 int, v1 text, v2 numeric, v3 timestamptz, n int, place float8)',
        property.key_column(key_type));
    -- The state is that of signalsmith.snapshot(): present, unknown, maybe.
    CREATE TABLE property.sent (LIKE property.source);
    ALTER TABLE property.sent ADD key jsonb, ADD data text, ADD state text;
    CALL property.add_rows(rows, rows * 2);

    PERFORM signalsmith.delete_sync('property'), signalsmith.delete_destination('property'), signalsmith.delete_model('property')
    FROM signalsmith.syncs WHERE name = 'property';
    PERFORM signalsmith.create_model('property', 'SELECT k1, k2, v1, v2, v3 FROM property.source ORDER BY place',
        (SELECT key_columns FROM property.chosen));
    PERFORM signalsmith.create_destination('property', 'webhook', jsonb_build_object('url', url, 'batch_size', 500));
    PERFORM signalsmith.create_sync('property', 'property', 'property', chosen_mode, 
        options => '{"max_delete_percent": 100, "max_attempts": 1}',
        field_mappings => jsonb_build_array('{"source": "k1", "destination": "k1"}'::jsonb, '{"source": "k2", "destination": "k2"}'::jsonb,
            '{"source": "v2", "destination": "v2"}'::jsonb, '{"source": "v3", "destination": "v3"}'::jsonb,
            jsonb_build_object('source', 'v1', 'destination', 'v1', 'identifier', by_identifier)));
END $$;

-- Rows with keys below "up_to"; those that are there already become duplicates.
CREATE PROCEDURE add_rows(rows int, up_to int) LANGUAGE plpgsql AS $$
DECLARE
    sample record;
BEGIN
    SELECT c.key_type INTO sample FROM property.chosen c;
    CREATE TEMP TABLE fresh ON COMMIT DROP AS
        SELECT DISTINCT ON (i) i FROM (SELECT floor(random() * up_to)::int FROM generate_series(1, rows)) AS d(i);
    -- Duplicates are rare, or nothing else would be left.
    DELETE FROM fresh WHERE random() > 0.003 AND i IN (SELECT n FROM property.source);
    EXECUTE format($sql$
        INSERT INTO property.source SELECT property.spell(%1$L, CASE WHEN %1$L = 'composite' THEN i / 10 ELSE i END)::%2$s,
            CASE WHEN %1$L = 'composite' THEN i %% 10 END,
            'identifier ' || i, i %% 7, timestamptz '2026-01-01' + i * interval '1 hour', i, i + random() FROM fresh
        $sql$, sample.key_type, property.key_cast(sample.key_type));
    DROP TABLE fresh;
END $$;

-- One random edit.
CREATE PROCEDURE edit() LANGUAGE plpgsql AS $$
DECLARE
    share float8 := CASE WHEN random() < 0.2 THEN random() ELSE random() * 0.05 END;
    rows int := (SELECT size FROM property.chosen);
    key_type text;
BEGIN
    CASE floor(random() * 13)::int
        WHEN 0 THEN
            NULL;
        WHEN 1, 2 THEN
            CALL property.add_rows((rows * share)::int, rows * 2);
        WHEN 3 THEN
            CALL property.add_rows((rows * share)::int, rows * 4);
        WHEN 4, 5 THEN
            UPDATE property.source SET v2 = v2 + 1 WHERE random() < share;
        WHEN 6 THEN
            UPDATE property.source SET v2 = CASE WHEN random() < 0.1 THEN 'NaN'::numeric ELSE round(v2 * 1.0, 1) END
            WHERE random() < share;
        WHEN 7 THEN
            DELETE FROM property.source WHERE random() < share AND n <> (SELECT min(n) FROM property.source);
        WHEN 8 THEN
            -- a block of neighbours
            DELETE FROM property.source s USING (SELECT random() * rows * 2 AS first) AS b
            WHERE n BETWEEN first AND first + rows * share AND n <> (SELECT min(n) FROM property.source);
        WHEN 9 THEN
            UPDATE property.source SET v1 = v1 || '!' WHERE random() < share;
        WHEN 10 THEN
            UPDATE property.source SET k1 = NULL WHERE random() < 0.003;
            DELETE FROM property.source WHERE k1 IS NULL AND random() < 0.5;
        WHEN 11 THEN
            -- the order: of neighbours, of some rows, of all
            CASE floor(random() * 4)::int
                WHEN 0 THEN UPDATE property.source SET place = place + random() * 3;
                WHEN 1 THEN UPDATE property.source SET place = random() * rows * 2 WHERE random() < share;
                WHEN 2 THEN UPDATE property.source SET place = -place;
                ELSE UPDATE property.source SET place = random();
            END CASE;
        WHEN 12 THEN
            -- other spellings of the same keys
            FOR key_type IN SELECT c.key_type FROM property.chosen c WHERE c.key_type IN ('numeric', 'citext', 'nocase', 'char(12)') AND NOT stormy LOOP
                EXECUTE format('UPDATE property.source SET k1 = property.spell(%L, n)::%s WHERE random() < %s',
                    key_type, property.key_cast(key_type), share);
            END LOOP;
    END CASE;
END $$;

-- What a run has to do, by a full join.  Rejected rows have no operation.
CREATE FUNCTION expected(full_resync boolean) RETURNS TABLE (operation text, key jsonb, data text, n int) LANGUAGE plpgsql AS $$
DECLARE
    c property.chosen;
    same text;
BEGIN
    SELECT * INTO c FROM property.chosen;
    same := CASE WHEN c.key_type = 'composite' THEN 's.k1 = h.k1 AND s.k2 = h.k2' ELSE 's.k1 = h.k1' END;
    RETURN QUERY EXECUTE format($sql$
        WITH s AS (
            SELECT src.*,
                CASE WHEN %2$L = 'composite' THEN jsonb_build_object('k1', k1, 'k2', k2) ELSE jsonb_build_object('k1', k1) END AS key,
                json_build_object('k1', k1, 'k2', k2, 'v2', v2, 'v3', v3, 'v1', v1)::text AS data,
                k1 IS NULL OR %5$s AS keyless,
                count(*) OVER (PARTITION BY k1, k2) > 1 AS repeated
            FROM property.source src),
        joined AS (
            SELECT s.*, h.key AS held_key, h.data AS held_data, CASE WHEN %4$L THEN h.v1 ELSE h.k1::text END COLLATE "C" AS held_identifier,
                CASE WHEN %4$L THEN s.v1 ELSE s.k1::text END COLLATE "C" AS identifier, h.key IS NOT NULL AND h.state <> 'maybe' AS known,
                h.key IS NOT NULL AS listed, h.state = 'unknown' OR h.data <> s.data OR %6$L AS differs, s.place IS NOT NULL AS present
            FROM s FULL JOIN property.sent h ON %1$s),
        wanted AS (
            SELECT j.*, CASE
                WHEN keyless OR repeated THEN 'reject'
                WHEN present AND NOT known AND %3$L <> 'update' THEN 'create'
                WHEN present AND known AND differs AND %3$L <> 'append' THEN 'update'
                WHEN listed AND NOT present AND %3$L = 'mirror' THEN 'delete'
                WHEN present AND known AND NOT differs THEN 'unchanged'
                ELSE 'leave' END AS verdict
            FROM joined j),
        sendable AS (
            SELECT w.*, CASE WHEN verdict IN ('create', 'update') AND v2 = 'NaN' THEN 'reject' ELSE verdict END AS final,
                verdict = 'update' AND %3$L = 'mirror' AND identifier <> held_identifier AS moved
            FROM wanted w)
        SELECT CASE WHEN moved AND final = 'update' THEN 'create' ELSE final END, coalesce(key, held_key),
            CASE WHEN final IN ('create', 'update') THEN data END, n FROM sendable
        UNION ALL
        SELECT 'delete', held_key, NULL, n FROM sendable WHERE moved AND final = 'update'
        $sql$, same, c.key_type, c.mode, c.by_identifier,
        CASE WHEN c.key_type = 'composite' THEN 'k2 IS NULL' ELSE 'false' END, full_resync);
END $$;

CREATE PROCEDURE complain(what text) LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', what;
END $$;

-- The plan as preview_sync shows it; data as text would be jsonb's, so both are.
CREATE PROCEDURE check_preview() LANGUAGE plpgsql AS $$
DECLARE
    differences text;
BEGIN
    WITH planned AS (SELECT operation, key, data FROM signalsmith.preview_sync('property', 1000000)),
    wanted AS (SELECT operation, key, data::jsonb FROM property.plan WHERE operation IN ('create', 'update', 'delete'))
    SELECT string_agg(difference, E'\n') INTO differences FROM (
        SELECT 'missing: ' || m AS difference FROM (TABLE wanted EXCEPT ALL TABLE planned) AS m
        UNION ALL
        SELECT 'too much: ' || m FROM (TABLE planned EXCEPT ALL TABLE wanted) AS m
        LIMIT 10) AS d;
    IF differences IS NOT NULL THEN
        CALL property.complain(E'preview_sync differs\n' || differences);
    END IF;
END $$;

-- What a run did: of what was planned, some may have failed at the destination.
CREATE PROCEDURE check_run(number bigint) LANGUAGE plpgsql AS $$
DECLARE
    got text;
    wanted text;
BEGIN
    DROP TABLE IF EXISTS property.failed;
    CREATE TABLE property.failed AS SELECT operation, key, outcome FROM signalsmith.row_errors WHERE run_id = 'run_' || number AND attempts > 0;
    IF EXISTS (SELECT operation, key FROM property.failed EXCEPT ALL SELECT operation, key FROM property.plan) THEN
        CALL property.complain('rows failed that were not planned');
    END IF;
    SELECT format('%s: processed %s, created %s, updated %s, deleted %s, failed %s, unchanged %s, errors %s', status, rows_processed,
        rows_created, rows_updated, rows_deleted, rows_failed, rows_unchanged,
        (SELECT count(*) FROM signalsmith.row_errors WHERE run_id = 'run_' || number))
    INTO got FROM signalsmith.run WHERE id = number;
    SELECT format('completed: processed %s, created %s, updated %s, deleted %s, failed %s, unchanged %s, errors %s',
        (SELECT count(*) FROM property.source), count(*) FILTER (WHERE p.operation = 'create' AND f.key IS NULL),
        count(*) FILTER (WHERE p.operation = 'update' AND f.key IS NULL), count(*) FILTER (WHERE p.operation = 'delete' AND f.key IS NULL),
        count(*) FILTER (WHERE p.operation = 'reject' OR f.key IS NOT NULL), count(*) FILTER (WHERE p.operation = 'unchanged'),
        count(*) FILTER (WHERE p.operation = 'reject' OR f.key IS NOT NULL))
    INTO wanted FROM property.plan p LEFT JOIN property.failed f USING (operation, key);
    IF got <> wanted THEN
        CALL property.complain(format(E'the run has %s\ninstead of %s', got, wanted));
    END IF;
END $$;

-- What has been sent, by key, after the plan has been carried out; and what the
-- destination holds, which takes other spellings of a key for other records.
CREATE PROCEDURE carry_out() LANGUAGE plpgsql AS $$
DECLARE
    same text := (SELECT CASE WHEN key_type = 'composite' THEN 's.k1 = h.k1 AND s.k2 = h.k2' ELSE 's.k1 = h.k1' END FROM property.chosen);
BEGIN
    DELETE FROM property.plan p USING property.failed f
    WHERE f.operation = p.operation AND f.key = p.key AND outcome = 'rejected';
    UPDATE property.sent h SET state = 'maybe' FROM property.failed f WHERE f.operation = 'delete' AND outcome = 'unknown' AND f.key = h.key;
    DELETE FROM property.plan p USING property.failed f WHERE f.operation = 'delete' AND p.operation = 'delete' AND f.key = p.key;

    DELETE FROM property.sent h USING property.plan p WHERE p.operation = 'delete' AND p.key = h.key;
    EXECUTE format($sql$
        DELETE FROM property.sent h USING property.source s JOIN property.plan p USING (n)
        WHERE p.operation IN ('create', 'update') AND %s $sql$, same);
    INSERT INTO property.sent
    SELECT s.*, p.key, p.data, CASE WHEN f.key IS NULL THEN 'present' WHEN p.operation = 'update' THEN 'unknown' ELSE 'maybe' END
    FROM property.source s JOIN property.plan p USING (n) LEFT JOIN property.failed f ON f.operation = p.operation AND f.key = p.key
    WHERE p.operation IN ('create', 'update');

    DELETE FROM property.held h USING property.plan p WHERE p.operation = 'delete' AND p.key::text = h.key;
    INSERT INTO property.held SELECT p.key::text, p.data::json FROM property.plan p WHERE p.operation IN ('create', 'update')
    ON CONFLICT (key) DO UPDATE SET data = EXCLUDED.data;
END $$;

-- A run, and whether it did what it should.
CREATE PROCEDURE check_step(full_resync boolean) LANGUAGE plpgsql AS $$
DECLARE
    run text;
BEGIN
    DROP TABLE IF EXISTS property.plan;
    CREATE TABLE property.plan AS SELECT * FROM property.expected(full_resync);
    IF NOT full_resync THEN
        CALL property.check_preview();
    END IF;
    run := signalsmith.trigger_sync('property', full_resync);
    COMMIT;
    PERFORM signalsmith.wait_for_run(run);
    CALL property.check_run(substr(run, 5)::bigint);
    CALL property.carry_out();
    COMMIT;
END $$;

CREATE PROCEDURE run_sequence(seed int) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM setseed(seed % 10000 / 10000.0);
    FOR step IN 1..4 LOOP
        CALL property.check_step(random() < 0.05);
        FOR edits IN 1..floor(random() * 4) LOOP
            CALL property.edit();
        END LOOP;
        COMMIT;
    END LOOP;
END $$;

-- Previews: what a run would do now.  All of them plan as a run does, in the
-- caller's own transaction, and throw the plan away:
--
--     BEGIN;
--     UPDATE customers SET ...;
--     SELECT * FROM signalsmith.preview_sync('customers to crm');
--     ROLLBACK;

CREATE FUNCTION signalsmith.preview_sync(sync text, max_rows integer DEFAULT 100, render boolean DEFAULT false)
    RETURNS TABLE (operation text, key jsonb, data jsonb)
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_preview_sync';
COMMENT ON FUNCTION signalsmith.preview_sync(text, integer, boolean) IS
    'what a run would send now, in the order of sending; sends nothing, and sees the caller''s own uncommitted changes; max_rows 0 only counts, in a NOTICE; with render the data are the very requests, as preview_requests has them';

CREATE FUNCTION signalsmith.preview_counts(sync text)
    RETURNS TABLE (outcome text, row_count bigint, remark text)
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_preview_counts';
COMMENT ON FUNCTION signalsmith.preview_counts(text) IS
    'how many rows a run would create, update and delete now, hold back, find unchanged, leave alone, skip or reject';

CREATE FUNCTION signalsmith.preview_requests(sync text, max_requests integer DEFAULT 10)
    RETURNS TABLE (method text, url text, headers jsonb, body text)
    LANGUAGE C AS 'MODULE_PATHNAME', 'signalsmith_preview_requests';
COMMENT ON FUNCTION signalsmith.preview_requests(text, integer) IS
    'the first requests that a run would send now; placeholders stand for secrets, and zeros for idempotency keys and the run''s id, which are made with a plan';

-- name: enqueue
-- The server folds equal notifications of one transaction into one.
WITH appended AS (
    INSERT INTO outbox (media_id, token, traceparent, available_at) VALUES ($1, $2, $3, $4)
)
SELECT pg_notify('pipeline_outbox', '')

-- name: claim
-- Materialized: the subquery locks rows and must run exactly once.
WITH due AS MATERIALIZED (
    SELECT id
    FROM outbox
    WHERE published_at IS NULL
        AND available_at <= now()
        AND (held_until IS NULL OR held_until <= now())
    ORDER BY available_at, id
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
UPDATE outbox
SET held_until = now() + make_interval(secs => $2)
FROM due
WHERE outbox.id = due.id
RETURNING outbox.id, outbox.media_id, outbox.token, outbox.traceparent, outbox.available_at

-- name: mark_published
UPDATE outbox SET published_at = now(), held_until = NULL
WHERE id = ANY($1::bigint[]) AND published_at IS NULL

-- name: release
UPDATE outbox SET held_until = NULL
WHERE id = ANY($1::bigint[]) AND published_at IS NULL

-- name: prune
WITH old AS MATERIALIZED (
    SELECT id
    FROM outbox
    WHERE published_at <= now() - make_interval(secs => $1)
    ORDER BY published_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
DELETE FROM outbox USING old WHERE outbox.id = old.id
RETURNING outbox.id

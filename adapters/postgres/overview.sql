-- name: backlog
-- Three counts, each along a partial index that holds unfinished work only.
SELECT state AS part, count(*) AS count,
    extract(epoch FROM now() - min(state_since))::float8 AS oldest_seconds,
    count(*) FILTER (WHERE requeues > 0 AND deadline_at > now()) AS requeued
FROM media
WHERE deadline_at IS NOT NULL AND state = ANY($1::text[])
GROUP BY state
UNION ALL
SELECT 'outbox', count(*),
    coalesce(extract(epoch FROM now() - min(available_at)), 0)::float8, 0
FROM outbox
WHERE published_at IS NULL AND available_at <= now()
UNION ALL
SELECT 'dead_letters', count(*), 0.0::float8, 0
FROM dead_letters
WHERE replayed_at IS NULL AND dismissed_at IS NULL

-- name: totals
SELECT state, count(*) AS count FROM media GROUP BY state

-- name: failed
SELECT
    id, state, version, file_name, content_type, original_key, created_at, updated_at,
    upload_expires_at, deadline_at, declared_bytes, declared_sha256, completed_at, etag,
    original_bytes, traceparent, attempt, lost_leases, lease_token, requeues, worker_id,
    next_attempt_at, attempts, original, variants, placeholder, failure
FROM media
WHERE state = 'FAILED'
ORDER BY updated_at DESC, id DESC
LIMIT $1

-- name: failed_with_code
SELECT
    id, state, version, file_name, content_type, original_key, created_at, updated_at,
    upload_expires_at, deadline_at, declared_bytes, declared_sha256, completed_at, etag,
    original_bytes, traceparent, attempt, lost_leases, lease_token, requeues, worker_id,
    next_attempt_at, attempts, original, variants, placeholder, failure
FROM media
WHERE state = 'FAILED' AND failure_code = $2
ORDER BY updated_at DESC, id DESC
LIMIT $1

-- Parameters $1 to $27 are the columns in the order of adapters.rows.COLUMNS.

-- name: add
INSERT INTO media (
    id, state, version, file_name, content_type, original_key, created_at, updated_at,
    upload_expires_at, deadline_at, declared_bytes, declared_sha256, completed_at, etag,
    original_bytes, traceparent, attempt, lost_leases, lease_token, requeues, worker_id,
    next_attempt_at, attempts, original, variants, placeholder, failure,
    failure_code, state_since
) VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
    $21, $22, $23, $24, $25, $26, $27, $28, $8
)
ON CONFLICT (id) DO NOTHING
RETURNING version

-- name: save
UPDATE media SET
    state = $2, version = $3, file_name = $4, content_type = $5, original_key = $6,
    created_at = $7, updated_at = $8, upload_expires_at = $9, deadline_at = $10,
    declared_bytes = $11, declared_sha256 = $12, completed_at = $13, etag = $14,
    original_bytes = $15, traceparent = $16, attempt = $17, lost_leases = $18,
    lease_token = $19, requeues = $20, worker_id = $21, next_attempt_at = $22, attempts = $23,
    original = $24, variants = $25, placeholder = $26, failure = $27, failure_code = $28,
    state_since = CASE WHEN state = $2 THEN state_since ELSE $8 END
WHERE id = $1 AND version = $29
RETURNING version

-- name: get
SELECT
    id, state, version, file_name, content_type, original_key, created_at, updated_at,
    upload_expires_at, deadline_at, declared_bytes, declared_sha256, completed_at, etag,
    original_bytes, traceparent, attempt, lost_leases, lease_token, requeues, worker_id,
    next_attempt_at, attempts, original, variants, placeholder, failure
FROM media
WHERE id = $1

-- name: get_locked
SELECT
    id, state, version, file_name, content_type, original_key, created_at, updated_at,
    upload_expires_at, deadline_at, declared_bytes, declared_sha256, completed_at, etag,
    original_bytes, traceparent, attempt, lost_leases, lease_token, requeues, worker_id,
    next_attempt_at, attempts, original, variants, placeholder, failure
FROM media
WHERE id = $1
FOR UPDATE

-- name: due
-- One short walk along the index for each state; a deep backlog in one is never sorted.
SELECT due.deadline_at, due.id
FROM unnest($1::text[]) AS wanted (state)
CROSS JOIN LATERAL (
    SELECT media.deadline_at, media.id
    FROM media
    WHERE media.state = wanted.state
        AND media.deadline_at <= $2
        AND (media.deadline_at, media.id) > (coalesce($3, '-infinity'::timestamptz), $4::text)
    ORDER BY media.deadline_at, media.id
    LIMIT $5
) AS due
ORDER BY due.deadline_at, due.id
LIMIT $5

-- name: get_media
SELECT * FROM media WHERE id = :id

-- name: due_media
SELECT deadline_at, id
FROM media
WHERE
    deadline_at <= :now
    AND (deadline_at, id) > (:after_deadline, :after_id)
    AND state IN (SELECT value FROM json_each(:states))
ORDER BY deadline_at, id
LIMIT :limit

-- name: keep_letter
INSERT INTO dead_letter (id, received_at, reason, media_id, body, replayed_at, dismissed_at)
VALUES (:id, :received_at, :reason, :media_id, :body, :replayed_at, :dismissed_at)
ON CONFLICT (id) DO NOTHING

-- name: get_letter
SELECT * FROM dead_letter WHERE id = :id

-- name: list_letters
SELECT * FROM dead_letter ORDER BY received_at DESC, id DESC LIMIT :limit

-- name: mark_replayed
UPDATE dead_letter SET replayed_at = :now WHERE id = :id

-- name: mark_dismissed
UPDATE dead_letter SET dismissed_at = :now WHERE id = :id

-- name: enqueue
INSERT INTO outbox (media_id, token, traceparent, available_at)
VALUES (:media_id, :token, :traceparent, :available_at)

-- name: claim_outbox
UPDATE outbox
SET held_until = :held_until
WHERE id IN (
    SELECT id
    FROM outbox
    WHERE
        published_at IS NULL
        AND available_at <= :now
        AND (held_until IS NULL OR held_until <= :now)
    ORDER BY available_at, id
    LIMIT :limit
)
RETURNING id, media_id, token, traceparent, available_at

-- name: mark_published
UPDATE outbox SET published_at = :now
WHERE published_at IS NULL AND id IN (SELECT value FROM json_each(:ids))

-- name: release_outbox
UPDATE outbox SET held_until = NULL
WHERE published_at IS NULL AND id IN (SELECT value FROM json_each(:ids))

-- name: prune_outbox
DELETE FROM outbox
WHERE id IN (
    SELECT id FROM outbox WHERE published_at <= :before ORDER BY published_at LIMIT :limit
)

-- name: waiting_media
SELECT state, COUNT(*) AS count, MIN(state_since) AS oldest
FROM media
WHERE state IN ('PENDING_UPLOAD', 'UPLOADED', 'PROCESSING', 'RETRYING')
GROUP BY state

-- name: waiting_outbox
SELECT COUNT(*) AS count, MIN(available_at) AS oldest
FROM outbox
WHERE published_at IS NULL AND available_at <= :now

-- name: requeued_media
SELECT COUNT(*) AS count
FROM media
WHERE state IN ('UPLOADED', 'RETRYING') AND requeues > 0 AND deadline_at > :now

-- name: waiting_letters
SELECT COUNT(*) AS count FROM dead_letter WHERE replayed_at IS NULL AND dismissed_at IS NULL

-- name: totals
SELECT state, COUNT(*) AS count FROM media GROUP BY state

-- name: failed_media
SELECT *
FROM media
WHERE state = 'FAILED' AND (:code IS NULL OR json_extract(failure, '$.code') = :code)
ORDER BY updated_at DESC, id DESC
LIMIT :limit

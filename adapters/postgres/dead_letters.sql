-- name: keep
INSERT INTO dead_letters (id, received_at, reason, media_id, body, replayed_at, dismissed_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (id) DO NOTHING

-- name: get
SELECT id, received_at, reason, media_id, body, replayed_at, dismissed_at
FROM dead_letters
WHERE id = $1

-- name: list
SELECT id, received_at, reason, media_id, body, replayed_at, dismissed_at
FROM dead_letters
ORDER BY received_at DESC, id DESC
LIMIT $1

-- name: mark_replayed
UPDATE dead_letters SET replayed_at = $2 WHERE id = $1

-- name: mark_dismissed
UPDATE dead_letters SET dismissed_at = $2 WHERE id = $1

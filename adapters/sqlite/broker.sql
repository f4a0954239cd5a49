-- name: publish
INSERT INTO message (queue, message_id, body, headers)
VALUES (:queue, :message_id, :body, :headers)

-- name: is_due
SELECT EXISTS (
    SELECT 1
    FROM message
    WHERE queue = :queue AND (taken_until IS NULL OR taken_until <= :now)
)

-- name: take
UPDATE message
SET deliveries = deliveries + 1, taken_until = :until
WHERE seq = (
    SELECT seq
    FROM message
    WHERE queue = :queue AND (taken_until IS NULL OR taken_until <= :now)
    ORDER BY seq
    LIMIT 1
)
RETURNING *

-- name: renew
UPDATE message
SET taken_until = :until
WHERE seq = :seq AND deliveries = :deliveries AND taken_until IS NOT NULL

-- name: ack
DELETE FROM message
WHERE seq = :seq AND deliveries = :deliveries AND taken_until IS NOT NULL

-- name: give_back
UPDATE message
SET taken_until = NULL
WHERE seq = :seq AND deliveries = :deliveries AND taken_until IS NOT NULL

-- name: dead_letter
UPDATE message
SET queue = :dead, reason = :reason, deliveries = 0, taken_until = NULL
WHERE seq = :seq AND deliveries = :deliveries AND taken_until IS NOT NULL

-- name: give_all_back
UPDATE message SET taken_until = NULL WHERE taken_until IS NOT NULL

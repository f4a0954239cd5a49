-- `deliveries` grows with each delivery, so it also tells an earlier delivery from a later one.
-- `taken_until` is the end of the visibility time, in microseconds since 1970 UTC; NULL: nobody
-- has the message.
CREATE TABLE message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    message_id TEXT NOT NULL,
    body BLOB NOT NULL,
    headers TEXT NOT NULL,
    reason TEXT,
    deliveries INTEGER NOT NULL DEFAULT 0 CHECK (deliveries >= 0),
    taken_until INTEGER
) STRICT;

CREATE INDEX message_queue ON message (queue, seq);

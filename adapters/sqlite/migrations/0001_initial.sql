-- Times are microseconds since 1970 UTC; nested values are JSON text, `null` and `[]` where empty.
-- The checks repeat what the domain promises for each state. The order of times is not checked:
-- a machine whose clock was set back must still be able to commit.

CREATE TABLE media (
    id TEXT PRIMARY KEY CHECK (id <> ''),
    state TEXT NOT NULL CHECK (
        state IN (
            'PENDING_UPLOAD', 'UPLOADED', 'PROCESSING', 'RETRYING',
            'READY', 'FAILED', 'EXPIRED', 'DELETED'
        )
    ),
    version INTEGER NOT NULL CHECK (version >= 0),
    file_name TEXT NOT NULL,
    content_type TEXT NOT NULL,
    original_key TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    upload_expires_at INTEGER NOT NULL,
    deadline_at INTEGER,
    declared_bytes INTEGER CHECK (declared_bytes >= 0),
    declared_sha256 TEXT,
    completed_at INTEGER,
    etag TEXT,
    original_bytes INTEGER CHECK (original_bytes >= 0),
    traceparent TEXT,
    attempt INTEGER NOT NULL CHECK (attempt >= 0),
    lost_leases INTEGER NOT NULL CHECK (lost_leases >= 0),
    lease_token INTEGER NOT NULL CHECK (lease_token >= attempt AND lease_token >= lost_leases),
    requeues INTEGER NOT NULL CHECK (requeues >= 0),
    worker_id TEXT,
    next_attempt_at INTEGER,
    attempts TEXT NOT NULL,
    original TEXT NOT NULL,
    variants TEXT NOT NULL,
    placeholder TEXT NOT NULL,
    failure TEXT NOT NULL,
    -- When the row came into its state, kept by the statements; not a field of the media.
    state_since INTEGER NOT NULL,

    CONSTRAINT somebody_looks_again CHECK (
        deadline_at IS NOT NULL
        OR state NOT IN ('PENDING_UPLOAD', 'UPLOADED', 'PROCESSING', 'RETRYING')
    ),
    CONSTRAINT object_is_pinned CHECK (
        state NOT IN ('UPLOADED', 'PROCESSING', 'RETRYING', 'READY', 'FAILED')
        OR (etag IS NOT NULL AND original_bytes IS NOT NULL AND completed_at IS NOT NULL)
    ),
    CONSTRAINT not_accepted_is_untouched CHECK (
        state NOT IN ('PENDING_UPLOAD', 'EXPIRED')
        OR (
            etag IS NULL AND original_bytes IS NULL AND completed_at IS NULL
            AND lease_token = 0 AND requeues = 0 AND attempts = '[]'
        )
    ),
    CONSTRAINT lease_has_an_owner CHECK (
        (state = 'PROCESSING') = (worker_id IS NOT NULL)
        AND (state <> 'PROCESSING' OR (attempt >= 1 AND attempts <> '[]'))
    ),
    CONSTRAINT retry_has_a_time CHECK (
        (state = 'RETRYING') = (next_attempt_at IS NOT NULL)
        AND (state <> 'RETRYING' OR (lease_token >= 1 AND attempts <> '[]'))
    ),
    CONSTRAINT failed_has_a_failure CHECK (
        state = 'DELETED' OR (state = 'FAILED') = (failure <> 'null')
    ),
    CONSTRAINT ready_has_a_result CHECK (
        CASE state
            WHEN 'READY' THEN original <> 'null' AND variants <> '[]' AND attempt >= 1
            WHEN 'DELETED' THEN TRUE
            ELSE original = 'null' AND variants = '[]'
        END
    )
) STRICT;

CREATE INDEX media_deadline ON media (deadline_at, id) WHERE deadline_at IS NOT NULL;
CREATE INDEX media_state ON media (state, state_since);
CREATE INDEX media_failed ON media (updated_at, id) WHERE state = 'FAILED';
CREATE INDEX media_requeued ON media (state) WHERE requeues > 0;

-- No reference to media: a message may outlive what it is about.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    media_id TEXT NOT NULL,
    token INTEGER NOT NULL CHECK (token >= 0),
    traceparent TEXT,
    available_at INTEGER NOT NULL,
    held_until INTEGER,
    published_at INTEGER
) STRICT;

CREATE INDEX outbox_due ON outbox (available_at, id) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

CREATE TABLE dead_letter (
    id TEXT PRIMARY KEY,
    received_at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    media_id TEXT,
    body BLOB NOT NULL,
    replayed_at INTEGER
) STRICT;

CREATE INDEX dead_letter_received ON dead_letter (received_at, id);
CREATE INDEX dead_letter_waiting ON dead_letter (id) WHERE replayed_at IS NULL;

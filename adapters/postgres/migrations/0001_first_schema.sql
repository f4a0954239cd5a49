-- The columns of `media` are the fields of domain.media.Media, in order, and two of our own:
-- `failure_code`, to search by, and `state_since`, the moment the present state was entered.
-- Nested values are JSON kept as text: jsonb refuses the NUL that a decoder's message may hold.
CREATE TABLE media (
    id                text        COLLATE "C" PRIMARY KEY,
    state             text        COLLATE "C" NOT NULL,
    version           bigint      NOT NULL,
    file_name         text        NOT NULL,
    content_type      text        NOT NULL,
    original_key      text        NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    upload_expires_at timestamptz NOT NULL,
    deadline_at       timestamptz,
    declared_bytes    bigint,
    declared_sha256   text,
    completed_at      timestamptz,
    etag              text,
    original_bytes    bigint,
    traceparent       text,
    attempt           integer     NOT NULL,
    lost_leases       integer     NOT NULL,
    lease_token       bigint      NOT NULL,
    requeues          integer     NOT NULL,
    worker_id         text,
    next_attempt_at   timestamptz,
    attempts          text        NOT NULL,
    original          text        NOT NULL,
    variants          text        NOT NULL,
    placeholder       text        NOT NULL,
    failure           text        NOT NULL,
    failure_code      text        COLLATE "C",
    state_since       timestamptz NOT NULL,

    CONSTRAINT media_state_is_known CHECK (state IN (
        'PENDING_UPLOAD', 'UPLOADED', 'PROCESSING', 'RETRYING',
        'READY', 'FAILED', 'EXPIRED', 'DELETED')),
    CONSTRAINT media_counters_are_sound CHECK (
        version >= 0 AND attempt >= 0 AND lost_leases >= 0 AND requeues >= 0
        AND attempt <= lease_token AND lost_leases <= lease_token),
    CONSTRAINT media_sizes_are_sound CHECK (declared_bytes >= 0 AND original_bytes >= 0),

    -- Whoever is not at rest has a moment at which somebody must look again.
    CONSTRAINT media_under_way_has_a_deadline CHECK (
        deadline_at IS NOT NULL
        OR state NOT IN ('PENDING_UPLOAD', 'UPLOADED', 'PROCESSING', 'RETRYING')),
    -- The very object that was seen is pinned for as long as it may be read.
    CONSTRAINT media_accepted_is_pinned CHECK (
        state NOT IN ('UPLOADED', 'PROCESSING', 'RETRYING', 'READY', 'FAILED')
        OR (etag IS NOT NULL AND original_bytes IS NOT NULL AND completed_at IS NOT NULL)),
    CONSTRAINT media_not_accepted_is_untouched CHECK (
        state NOT IN ('PENDING_UPLOAD', 'EXPIRED')
        OR (etag IS NULL AND original_bytes IS NULL AND completed_at IS NULL
            AND lease_token = 0 AND requeues = 0 AND attempts = '[]')),
    CONSTRAINT media_lease_has_an_owner CHECK ((state = 'PROCESSING') = (worker_id IS NOT NULL)),
    CONSTRAINT media_processing_is_charged CHECK (
        state <> 'PROCESSING' OR (lease_token > 0 AND attempt > 0 AND attempts <> '[]')),
    CONSTRAINT media_retry_has_a_due_time CHECK (
        (state = 'RETRYING') = (next_attempt_at IS NOT NULL)),
    CONSTRAINT media_retrying_was_tried CHECK (
        state <> 'RETRYING' OR (lease_token > 0 AND attempts <> '[]')),
    CONSTRAINT media_ready_has_variants CHECK (
        state <> 'READY'
        OR (variants <> '[]' AND original <> 'null' AND lease_token > 0 AND attempt > 0)),
    CONSTRAINT media_unfinished_shows_nothing CHECK (
        state IN ('READY', 'DELETED') OR (variants = '[]' AND original = 'null')),
    CONSTRAINT media_failed_has_a_failure CHECK (
        state = 'DELETED' OR (state = 'FAILED') = (failure <> 'null')),
    CONSTRAINT media_failure_has_a_code CHECK ((failure <> 'null') = (failure_code IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- Finished rows are in none of these once they are swept, so their number costs nothing.
CREATE INDEX media_deadlines ON media (state, deadline_at, id) INCLUDE (state_since, requeues)
    WHERE deadline_at IS NOT NULL;
CREATE INDEX media_failed ON media (updated_at, id) WHERE state = 'FAILED';
CREATE INDEX media_failed_by_code ON media (failure_code, updated_at, id) WHERE state = 'FAILED';

CREATE TABLE outbox (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    media_id     text        NOT NULL,
    token        bigint      NOT NULL CHECK (token >= 0),
    traceparent  text,
    available_at timestamptz NOT NULL,
    held_until   timestamptz,
    published_at timestamptz
) WITH (
    -- Every row is updated twice and deleted once: leave room on its page, and vacuum early.
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500
);
CREATE INDEX outbox_unpublished ON outbox (available_at, id) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

CREATE TABLE dead_letters (
    id          text        COLLATE "C" PRIMARY KEY,
    received_at timestamptz NOT NULL,
    reason      text        NOT NULL,
    media_id    text,
    body        bytea       NOT NULL,
    replayed_at timestamptz
);
CREATE INDEX dead_letters_newest ON dead_letters (received_at, id);
CREATE INDEX dead_letters_waiting ON dead_letters (id) WHERE replayed_at IS NULL;

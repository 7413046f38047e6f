-- +goose Up
CREATE TABLE rooms (
    room_id    text        NOT NULL PRIMARY KEY,
    name       text        NOT NULL,
    owner_id   text        NOT NULL DEFAULT '', -- '' = nobody: the next to join
    last_seq   bigint      NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500);
-- last_seq changes all the time: room on the page keeps those updates off the index.

CREATE TABLE memberships (
    room_id   text        NOT NULL,
    user_id   text        NOT NULL,
    user_name text        NOT NULL,
    joined_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (room_id, user_id)
);
CREATE INDEX memberships_by_user ON memberships (user_id, room_id);

CREATE TABLE receipts (
    room_id text   NOT NULL,
    user_id text   NOT NULL,
    seq     bigint NOT NULL,
    PRIMARY KEY (room_id, user_id)
) WITH (fillfactor = 80);

CREATE TABLE messages (
    room_id       text        NOT NULL,
    seq           bigint      NOT NULL,
    id            uuid        NOT NULL,
    sender_id     text        NOT NULL,
    sender_name   text        NOT NULL,
    content       text        NOT NULL,
    type          text        NOT NULL,
    client_msg_id text,
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (room_id, seq)
) PARTITION BY HASH (room_id);
CREATE UNIQUE INDEX messages_client_msg_id ON messages (room_id, sender_id, client_msg_id)
    WHERE client_msg_id IS NOT NULL;

CREATE TABLE room_events (
    room_id text   NOT NULL,
    seq     bigint NOT NULL,
    payload bytea  NOT NULL, -- starling.event.v1.RoomEvent
    PRIMARY KEY (room_id, seq)
) PARTITION BY HASH (room_id);

-- +goose StatementBegin
DO $$
BEGIN
    FOR i IN 0..63 LOOP
        EXECUTE format('CREATE TABLE messages_%s PARTITION OF messages FOR VALUES WITH (MODULUS 64, REMAINDER %s)',
                       lpad(i::text, 2, '0'), i);
        EXECUTE format('CREATE TABLE room_events_%s PARTITION OF room_events FOR VALUES WITH (MODULUS 64, REMAINDER %s)',
                       lpad(i::text, 2, '0'), i);
    END LOOP;
END $$;
-- +goose StatementEnd

CREATE TABLE outbox (
    id         uuid        NOT NULL PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at     timestamptz NOT NULL, -- the relay takes the row then; taking it moves this on
    payload    bytea       NOT NULL  -- starling.event.v1.RoomEventBatch
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX outbox_due ON outbox (due_at);
-- Rows live for milliseconds and are read once: compressing them is wasted work.
ALTER TABLE outbox ALTER COLUMN payload SET STORAGE EXTERNAL;

CREATE TABLE notifications (
    user_id         text        NOT NULL,
    id              uuid        NOT NULL,
    type            text        NOT NULL,
    title           text        NOT NULL,
    body            text        NOT NULL,
    data            text, -- JSON
    idempotency_key text,
    created_at      timestamptz NOT NULL,
    read_at         timestamptz,
    PRIMARY KEY (user_id, id)
);
CREATE UNIQUE INDEX notifications_idempotency ON notifications (user_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX notifications_unread ON notifications (user_id) WHERE read_at IS NULL;

-- +goose Down
DROP TABLE notifications, outbox, room_events, messages, receipts, memberships, rooms;

-- +goose Up
-- What is told to a user on all devices: a log a user, numbered without holes by user_logs.last_seq.
CREATE TABLE user_logs (
    user_id  text   NOT NULL PRIMARY KEY,
    last_seq bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);

CREATE TABLE user_events (
    user_id text        NOT NULL,
    seq     bigint      NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(), -- when it was stored
    payload bytea       NOT NULL, -- starling.event.v1.RoomEvent
    PRIMARY KEY (user_id, seq)
);
CREATE INDEX user_events_by_time ON user_events (at); -- gateways ask whose logs have grown

-- +goose Down
DROP TABLE user_events, user_logs;

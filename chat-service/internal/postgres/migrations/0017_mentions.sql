-- +goose Up
-- Which messages mention whom. Messages that mention nobody write nothing here.
CREATE TABLE mentions (
    user_id text        NOT NULL, -- '' = everybody in the room
    room_id text        NOT NULL,
    seq     bigint      NOT NULL, -- of the message
    at      timestamptz NOT NULL, -- when it was sent
    off     boolean     NOT NULL, -- an edit took it back
    PRIMARY KEY (user_id, room_id, seq)
);
CREATE INDEX mentions_by_time ON mentions (user_id, at, room_id, seq);
CREATE INDEX mentions_by_message ON mentions (room_id, seq);

-- A fact that shows a message is told again with what the message is by then: payload has no arguments.
ALTER TABLE user_events
    ADD COLUMN shown_room text,
    ADD COLUMN shown_seq  bigint;

-- +goose Down
ALTER TABLE user_events DROP COLUMN shown_room, DROP COLUMN shown_seq;
DROP TABLE mentions;

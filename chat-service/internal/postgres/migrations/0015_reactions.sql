-- +goose Up
-- Who reacted to messages, and how many did; the counts stand with the message, as do the times of pinned ones.
ALTER TABLE messages
    ADD COLUMN reaction_keys   text[],
    ADD COLUMN reaction_counts bigint[], -- of the keys, in the same order
    ADD COLUMN pinned_at       timestamptz;

CREATE TABLE reactions (
    room_id text   NOT NULL,
    seq     bigint NOT NULL,
    user_id text   NOT NULL,
    key     text   NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (room_id, seq, user_id, key)
);

CREATE TABLE pins (
    room_id text   NOT NULL,
    seq     bigint NOT NULL,
    PRIMARY KEY (room_id, seq)
);

-- +goose Down
DROP TABLE pins, reactions;
ALTER TABLE messages DROP COLUMN reaction_keys, DROP COLUMN reaction_counts, DROP COLUMN pinned_at;

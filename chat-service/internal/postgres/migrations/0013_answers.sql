-- +goose Up
-- The answers to requests with an idempotency key, kept in the transactions that did what was asked for. A release before this one takes no keys.
CREATE TABLE answers (
    key     bytea       NOT NULL PRIMARY KEY, -- SHA-256 of the room, who asks, and the key
    user_id text        NOT NULL,             -- who asks, or '' = another backend
    asked   bytea       NOT NULL,             -- SHA-256 of what was asked for
    at      timestamptz NOT NULL,
    room_id text        NOT NULL,
    version bigint      NOT NULL,             -- of the room, or 0
    until   timestamptz,                      -- the end of an invitation
    salt    bytea       NOT NULL,             -- of the invite, which itself is nowhere
    seqs    bigint[]    NOT NULL,             -- what became of each command of the request, in three columns
    changed boolean[]   NOT NULL,
    reasons text[]      NOT NULL              -- why it was refused, or ''
);
CREATE INDEX answers_by_time ON answers (at);
CREATE INDEX answers_by_user ON answers (user_id, at);

-- +goose Down
DROP TABLE answers;

-- +goose Up
-- What moderators did, in the transactions that did it.
CREATE TABLE audit (
    id      bigint      NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL,
    room_id text        NOT NULL,
    by_id   text        NOT NULL,
    act     text        NOT NULL, -- add, remove, role, ban, unban, mute, unmute
    user_id text        NOT NULL, -- whom it concerned
    role    text        NOT NULL, -- that was given, or ''
    until   timestamptz,          -- of a ban or a mute; the year 9999 = without end
    reason  text        NOT NULL
);
CREATE INDEX audit_by_room ON audit (room_id, id);

-- +goose Down
DROP TABLE audit;

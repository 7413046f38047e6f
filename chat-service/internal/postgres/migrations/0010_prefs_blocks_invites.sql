-- +goose Up
-- How users want their rooms shown. No row: as everybody does.
CREATE TABLE room_prefs (
    room_id text    NOT NULL,
    user_id text    NOT NULL,
    muted   boolean NOT NULL,
    hidden  boolean NOT NULL,
    pinned  boolean NOT NULL,
    PRIMARY KEY (room_id, user_id)
);

CREATE TABLE blocks (
    user_id    text        NOT NULL,
    blocked_id text        NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, blocked_id)
);

-- The invites themselves are nowhere.
CREATE TABLE invites (
    hash       bytea       NOT NULL PRIMARY KEY, -- SHA-256 of the invite
    room_id    text        NOT NULL,
    by_id      text        NOT NULL,
    role       text        NOT NULL,
    uses       integer     NOT NULL, -- left
    expires_at timestamptz NOT NULL
);
CREATE INDEX invites_by_room ON invites (room_id);
CREATE INDEX invites_by_end ON invites (expires_at); -- those that are over are deleted when others are made

-- +goose Down
DROP TABLE invites, blocks, room_prefs;

-- +goose Up
-- Rooms that not everybody may enter. A release before this one takes every room for public, and every member but the owner for an
-- ordinary one: make the first private room when no replica of it runs any more.
ALTER TABLE rooms
    ADD COLUMN kind       text   NOT NULL DEFAULT 'public', -- public, private, direct
    ADD COLUMN topic      text   NOT NULL DEFAULT '',
    ADD COLUMN avatar_url text   NOT NULL DEFAULT '',
    ADD COLUMN data       text   NOT NULL DEFAULT '', -- JSON, or '' = none
    ADD COLUMN version    bigint NOT NULL DEFAULT 1;

ALTER TABLE memberships
    ADD COLUMN role        text NOT NULL DEFAULT 'member', -- owner, moderator, member; rooms.owner_id is an owner whatever it says here
    ADD COLUMN muted_until timestamptz; -- as in restrictions, for whoever reads the membership anyway
CREATE INDEX memberships_by_role ON memberships (room_id) WHERE role <> 'member';

-- What a user may not do in a room, also after leaving it. NULL = there is no such restriction; the year 9999 = without end.
CREATE TABLE restrictions (
    room_id      text NOT NULL,
    user_id      text NOT NULL,
    banned_until timestamptz,
    muted_until  timestamptz,
    PRIMARY KEY (room_id, user_id)
);

-- +goose Down
DROP TABLE restrictions;
DROP INDEX memberships_by_role;
ALTER TABLE memberships DROP COLUMN role, DROP COLUMN muted_until;
ALTER TABLE rooms DROP COLUMN kind, DROP COLUMN topic, DROP COLUMN avatar_url, DROP COLUMN data, DROP COLUMN version;

-- +goose Up
-- What moderators choose for a room. A release before this one does not know these columns, and lets members send and join all the same.
ALTER TABLE rooms
    ADD COLUMN send_role    text   NOT NULL DEFAULT '', -- the least role that may say something; '' = a member's
    ADD COLUMN slow_mode_ms bigint NOT NULL DEFAULT 0,
    ADD COLUMN max_members  integer NOT NULL DEFAULT 0, -- 0 = there is no such bound
    ADD COLUMN archived_at  timestamptz;                -- NULL = the room is not archived

-- When a user said something last, where there is slow mode: in the membership, and here for who left and comes again.
ALTER TABLE memberships ADD COLUMN sent_at timestamptz;
ALTER TABLE restrictions ADD COLUMN sent_at timestamptz;

-- +goose Down
ALTER TABLE restrictions DROP COLUMN sent_at;
ALTER TABLE memberships DROP COLUMN sent_at;
ALTER TABLE rooms DROP COLUMN send_role, DROP COLUMN slow_mode_ms, DROP COLUMN max_members, DROP COLUMN archived_at;

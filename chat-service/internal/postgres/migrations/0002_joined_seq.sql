-- +goose Up
-- The room's sequence at which the membership began: what was said before it is not unread. 0 = not known, from before this column.
ALTER TABLE memberships ADD COLUMN joined_seq bigint NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE memberships DROP COLUMN joined_seq;

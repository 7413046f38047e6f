-- +goose Up
-- The members of a deleted room are told of it by their logs, in the order of their ids: up to this one they have been. Rooms that a release
-- before this one deletes are told by the purge of this one.
ALTER TABLE rooms ADD COLUMN told_after text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE rooms DROP COLUMN told_after;

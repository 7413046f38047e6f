-- +goose Up
-- A deleted room stays as a row of kind 'deleted', so that its id is never used again. Not NULL while what is stored of it has yet to go.
-- A release before this one takes such a room for a private one of nobody.
ALTER TABLE rooms ADD COLUMN deleted_at timestamptz;
CREATE INDEX rooms_deleted ON rooms (deleted_at) WHERE deleted_at IS NOT NULL;

-- +goose Down
DROP INDEX rooms_deleted;
ALTER TABLE rooms DROP COLUMN deleted_at;

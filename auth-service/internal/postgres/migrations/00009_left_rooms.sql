-- +goose Up
-- Of a deleted user: has left all rooms, and is forgotten in chat-service.
ALTER TABLE users ADD COLUMN left_rooms boolean NOT NULL DEFAULT false;
CREATE INDEX users_leaving ON users (id) WHERE deleted_at IS NOT NULL AND NOT left_rooms;

-- +goose Down
DROP INDEX users_leaving;
ALTER TABLE users DROP COLUMN left_rooms;

-- +goose Up
-- Made as a guest: it goes with its last login.
ALTER TABLE users ADD COLUMN guest boolean NOT NULL DEFAULT false;
CREATE INDEX users_guests ON users (id) WHERE guest;

-- +goose Down
DROP INDEX users_guests;
ALTER TABLE users DROP COLUMN guest;

-- +goose Up
-- What the embedding product keeps about a user: an address of a picture, and a JSON object.
ALTER TABLE users ADD COLUMN avatar_url text;
ALTER TABLE users ADD COLUMN data json;
-- A disabled user is refused at login and at CONNECT; NULL = is not.
ALTER TABLE users ADD COLUMN disabled_at timestamptz;
-- Counts changes of the password: a login that was begun with another count was begun with another password.
ALTER TABLE users ADD COLUMN password_changes bigint NOT NULL DEFAULT 0;
-- From where a login began, and when it was last refreshed; NULL = from before these columns.
ALTER TABLE logins ADD COLUMN address text;
ALTER TABLE logins ADD COLUMN used_at timestamptz;

-- +goose Down
ALTER TABLE logins DROP COLUMN used_at, DROP COLUMN address;
ALTER TABLE users DROP COLUMN password_changes, DROP COLUMN disabled_at, DROP COLUMN data, DROP COLUMN avatar_url;

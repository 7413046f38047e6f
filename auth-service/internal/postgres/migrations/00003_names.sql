-- +goose Up
-- When the token was issued that said name and role; NULL = none did, or from before this column.
ALTER TABLE users ADD COLUMN described_at timestamptz;
-- Grows with every change of the name: microseconds since 1970 when it changed. 0 = it never did.
ALTER TABLE users ADD COLUMN name_version bigint NOT NULL DEFAULT 0;
-- chat-service has the present name.
ALTER TABLE users ADD COLUMN name_announced boolean NOT NULL DEFAULT true;
CREATE INDEX users_name_unannounced ON users (id) WHERE NOT name_announced;

-- +goose Down
DROP INDEX users_name_unannounced;
ALTER TABLE users DROP COLUMN name_announced, DROP COLUMN name_version, DROP COLUMN described_at;

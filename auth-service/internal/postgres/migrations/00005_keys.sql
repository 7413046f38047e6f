-- +goose Up
-- When the key ends; NULL = it does not.
ALTER TABLE api_keys ADD COLUMN expires_at timestamptz;
-- When it was last shown, to the minute.
ALTER TABLE api_keys ADD COLUMN used_at timestamptz;

-- +goose Down
ALTER TABLE api_keys DROP COLUMN used_at, DROP COLUMN expires_at;

-- +goose Up
-- The latest time of issue in a foreign token of the user that was ahead of our clock when the token came; a revocation covers
-- what was issued up to then.
ALTER TABLE users ADD COLUMN dated_ahead timestamptz;

-- +goose Down
ALTER TABLE users DROP COLUMN dated_ahead;

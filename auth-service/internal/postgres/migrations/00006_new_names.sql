-- +goose Up
-- Names that never changed were not announced: who is added to a room before the first connection is called by the id there.
UPDATE users SET name_announced = false WHERE name_version = 0 AND name_announced AND name <> id AND deleted_at IS NULL;

-- +goose Down
SELECT 1;

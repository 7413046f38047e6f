-- +goose Up
-- Set where the user is let in no more: the user's generation from then on. Every token that was judged by an older one is covered,
-- whenever it was issued. NULL = the user may come with a later token, or from before this column.
ALTER TABLE revocations ADD COLUMN generation bigint;

-- +goose Down
ALTER TABLE revocations DROP COLUMN generation;

-- +goose Up
-- How far a user has read is receipts.seq, which never goes back: others see it. What counts for the user alone can be set back.
ALTER TABLE receipts
    ADD COLUMN back_seq  bigint, -- the marker of the user, where it was set back; NULL = seq
    ADD COLUMN back_head bigint; -- the room's last_seq when it was: what the user said up to it does not move the marker

-- +goose Down
ALTER TABLE receipts DROP COLUMN back_seq, DROP COLUMN back_head;

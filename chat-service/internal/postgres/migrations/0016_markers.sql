-- +goose Up
-- How far a user has read is receipts.seq, which never goes back: others see it. What counts for the user alone can be set back.
ALTER TABLE receipts
    ADD COLUMN back_seq  bigint, -- the marker of the user, where it was set back; NULL = seq
    ADD COLUMN back_head bigint; -- the room's last_seq when it was: what the user said up to it does not move the marker

-- A marker replaces the one before it of the same room, so that a log does not forget other facts for it.
ALTER TABLE user_events
    ADD COLUMN about    text,   -- of a fact that replaces the one before it about the same
    ADD COLUMN from_seq bigint; -- from where the fact stands for others that were replaced; NULL = itself alone

-- +goose Down
ALTER TABLE user_events DROP COLUMN about, DROP COLUMN from_seq;
ALTER TABLE receipts DROP COLUMN back_seq, DROP COLUMN back_head;

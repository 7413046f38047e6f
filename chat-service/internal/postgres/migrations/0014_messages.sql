-- +goose Up
-- Messages that answer others, carry data, are edited and deleted. A release before this one shows what is there as it is by then, and does not
-- know these columns: what it stores is as if they had never been.
ALTER TABLE rooms ADD COLUMN message_count bigint; -- n of the last message; NULL = its seq, of a room in which nothing happened since there is n

ALTER TABLE messages
    ADD COLUMN n             bigint, -- counts the room's messages; NULL = seq, or rooms.message_count if that is less
    ADD COLUMN changed       bigint, -- sequence of the last fact that changed the message; NULL = none has
    ADD COLUMN format        text,   -- NULL = plain
    ADD COLUMN data          text,   -- JSON
    ADD COLUMN mentions      text[], -- users
    ADD COLUMN mentions_room boolean,
    ADD COLUMN reply_to      bigint, -- replies has more
    ADD COLUMN edited_at     timestamptz,
    ADD COLUMN deleted_at    timestamptz, -- content is '' then, and what is not needed to show the place is NULL
    ADD COLUMN deleted_by    text;

-- An event that shows a message is told again with what the message is by then: payload has no arguments.
ALTER TABLE room_events ADD COLUMN message_seq bigint;

-- Messages that have changed, for who asks what is new since a sequence; an index on messages would cost every message.
CREATE TABLE changed_messages (
    room_id text   NOT NULL,
    seq     bigint NOT NULL,
    changed bigint NOT NULL, -- as messages.changed
    PRIMARY KEY (room_id, seq)
);
CREATE INDEX changed_messages_by_change ON changed_messages (room_id, changed);

-- What messages show of those that they answer.
CREATE TABLE replies (
    room_id     text   NOT NULL,
    seq         bigint NOT NULL,
    to_seq      bigint NOT NULL,
    to_id       uuid   NOT NULL,
    sender_id   text   NOT NULL,
    sender_name text   NOT NULL,
    preview     text   NOT NULL, -- '' = it was deleted since
    PRIMARY KEY (room_id, seq)
);
CREATE INDEX replies_by_message ON replies (room_id, to_seq);

-- What messages said before they were edited, where that is kept.
CREATE TABLE message_edits (
    room_id text        NOT NULL,
    seq     bigint      NOT NULL,
    version bigint      NOT NULL, -- that said so
    content text        NOT NULL,
    data    text,
    at      timestamptz NOT NULL, -- when it was said
    PRIMARY KEY (room_id, seq, version)
);

-- Rooms of which the stream may hold events of a deleted message. It is told several times to forget them: some may have been on their way.
CREATE TABLE erasures (
    room_id text        NOT NULL PRIMARY KEY,
    since   timestamptz NOT NULL, -- of the last deletion
    due_at  timestamptz NOT NULL
);

-- +goose Down
DROP TABLE erasures, message_edits, replies, changed_messages;
ALTER TABLE room_events DROP COLUMN message_seq;
ALTER TABLE messages DROP COLUMN n, DROP COLUMN changed, DROP COLUMN format, DROP COLUMN data, DROP COLUMN mentions, DROP COLUMN mentions_room,
    DROP COLUMN reply_to, DROP COLUMN edited_at, DROP COLUMN deleted_at, DROP COLUMN deleted_by;
ALTER TABLE rooms DROP COLUMN message_count;

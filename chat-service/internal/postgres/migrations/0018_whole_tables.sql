-- +goose Up

-- Messages and events of rooms lay in 64 partitions each, all of which a statement locked and set up each time (docs/adr/0019). Rows are copied; whoever
-- writes meanwhile waits. The statistics are of use once there is something to tell: a table of one page would be read whole until they are made anew.
LOCK TABLE messages, room_events IN ACCESS EXCLUSIVE MODE;

ALTER TABLE messages RENAME TO messages_parted;
ALTER TABLE messages_parted RENAME CONSTRAINT messages_pkey TO messages_parted_pkey;
ALTER INDEX messages_client_msg_id RENAME TO messages_parted_client_msg_id;
CREATE TABLE messages (LIKE messages_parted INCLUDING DEFAULTS)
    WITH (autovacuum_analyze_threshold = 1000, autovacuum_vacuum_threshold = 1000);
INSERT INTO messages SELECT * FROM messages_parted;
ALTER TABLE messages ADD PRIMARY KEY (room_id, seq);
CREATE UNIQUE INDEX messages_client_msg_id ON messages (room_id, sender_id, client_msg_id) WHERE client_msg_id IS NOT NULL;
DROP TABLE messages_parted;

ALTER TABLE room_events RENAME TO room_events_parted;
ALTER TABLE room_events_parted RENAME CONSTRAINT room_events_pkey TO room_events_parted_pkey;
CREATE TABLE room_events (LIKE room_events_parted INCLUDING DEFAULTS)
    WITH (autovacuum_analyze_threshold = 1000, autovacuum_vacuum_threshold = 1000);
INSERT INTO room_events SELECT * FROM room_events_parted;
ALTER TABLE room_events ADD PRIMARY KEY (room_id, seq);
DROP TABLE room_events_parted;

-- +goose Down
SELECT 1; -- the releases before do not care

-- +goose Up
-- What users have used of their quotas, see chat.Usage: when they made rooms in the last hour, in microseconds since 1970, and until when
-- their joins are paid for.
CREATE TABLE user_usage (
    user_id text PRIMARY KEY,
    made    bigint[]    NOT NULL,
    joined  timestamptz NOT NULL
);

-- +goose Down
DROP TABLE user_usage;

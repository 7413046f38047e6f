-- +goose Up
-- When each user was last online. Written in batches by the leading replica, never on the path of a request.
CREATE TABLE last_seen (
    user_id text PRIMARY KEY,
    seen_at timestamptz NOT NULL
) WITH (fillfactor = 80); -- rows are updated in place, again and again

-- +goose Down
DROP TABLE last_seen;

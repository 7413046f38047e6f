-- +goose Up
-- Who became a member because a token opened the room is one as long as a token does. A release before this one takes it for an
-- ordinary member: hand out such tokens when no replica of it runs any more.
ALTER TABLE memberships ADD COLUMN by_token boolean NOT NULL DEFAULT false;

-- The API key by which another backend did it, as itself (by_id is system) or as the user by_id; '' = the user itself did.
ALTER TABLE audit ADD COLUMN api_key text NOT NULL DEFAULT '';
CREATE INDEX audit_by_user ON audit (user_id, id);
CREATE INDEX audit_by_actor ON audit (by_id, id);
CREATE INDEX audit_by_time ON audit (at);

-- +goose Down
DROP INDEX audit_by_user, audit_by_actor, audit_by_time;
ALTER TABLE audit DROP COLUMN api_key;
ALTER TABLE memberships DROP COLUMN by_token;

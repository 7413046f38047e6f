-- +goose Up
-- How users are shown. auth-service says so; version is its own, and grows with every change.
CREATE TABLE user_names (
    user_id text   NOT NULL PRIMARY KEY,
    name    text   NOT NULL,
    version bigint NOT NULL -- 0 = not known to have changed
);
-- The version of user_name, which is a copy of the user's name: who writes a message finds it with the membership.
ALTER TABLE memberships ADD COLUMN name_version bigint NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE memberships DROP COLUMN name_version;
DROP TABLE user_names;

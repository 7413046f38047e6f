-- +goose Up
CREATE TABLE users (
    id            text PRIMARY KEY,
    -- lower case; NULL for users of another login system
    username      text UNIQUE,
    -- argon2id PHC string; NULL for users of another login system
    password_hash text,
    name          text NOT NULL,
    role          text NOT NULL CHECK (role IN ('user', 'admin')),
    -- tokens of an older generation are void
    generation    bigint NOT NULL DEFAULT 0,
    -- when the generation last advanced, whole milliseconds; every token of an older generation was issued before
    revoked_at    timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    -- a deleted user is not found and not provisioned again
    deleted_at    timestamptz
);

-- A login is a family of refresh tokens, of which one is unspent.
CREATE TABLE logins (
    id         uuid PRIMARY KEY,
    user_id    text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- when its newest refresh token ends
    expires_at timestamptz NOT NULL,
    ended_at   timestamptz
);
CREATE INDEX logins_user_id ON logins (user_id) WHERE ended_at IS NULL;
CREATE INDEX logins_expires_at ON logins (expires_at);

CREATE TABLE refresh_tokens (
    -- SHA-256 of the token
    hash           bytea PRIMARY KEY,
    login_id       uuid NOT NULL REFERENCES logins (id) ON DELETE CASCADE,
    expires_at     timestamptz NOT NULL,
    spent_at       timestamptz,
    -- with the token itself it yields the successor; forgotten soon after the token was spent
    successor_salt bytea
);
CREATE INDEX refresh_tokens_login_id ON refresh_tokens (login_id);
CREATE INDEX refresh_tokens_expires_at ON refresh_tokens (expires_at);
CREATE INDEX refresh_tokens_salted ON refresh_tokens (spent_at) WHERE successor_salt IS NOT NULL;

-- The log's newest id. Its row lock is held until the commit, so that ids become visible in order and without holes,
-- which a sequence does not give.
CREATE TABLE revocation_head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id       bigint NOT NULL
);
INSERT INTO revocation_head (id) VALUES (0);

CREATE TABLE revocations (
    id         bigint PRIMARY KEY,
    user_id    text NOT NULL,
    -- NULL = every token of the user issued before revoked_at
    login_id   uuid,
    revoked_at timestamptz NOT NULL,
    -- the bus has it
    announced  boolean NOT NULL DEFAULT false
);
CREATE INDEX revocations_revoked_at ON revocations (revoked_at);
CREATE INDEX revocations_unannounced ON revocations (id) WHERE NOT announced;

CREATE TABLE signing_keys (
    -- thumbprint of the public key, the kid
    id         text PRIMARY KEY,
    -- Ed25519 seed, or sealed by AES-256-GCM: nonce, ciphertext, tag; the id is authenticated with it
    private    bytea NOT NULL,
    sealed     boolean NOT NULL,
    signs_from timestamptz NOT NULL
);

CREATE TABLE api_keys (
    name       text PRIMARY KEY,
    -- SHA-256 of the key
    hash       bytea NOT NULL UNIQUE,
    scopes     text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE api_keys, signing_keys, revocations, revocation_head, refresh_tokens, logins, users;

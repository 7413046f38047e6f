// Package auth is the domain of auth-service: users and passwords, logins and their refresh tokens, access tokens and
// the keys that sign them, revocation, API keys. It declares the Store and the Announcer that it needs and knows neither
// SQL nor gRPC nor NATS.
//
// On the journey of a message it stands at the very beginning: a socket's token is turned into an Identity here, once,
// before the socket exists.
//
// # Tokens
//
//	login ─┬─ refresh token 1 ──spent──▶ refresh token 2 ──spent──▶ refresh token 3     a family, one living token
//	       │        │                         │                          │
//	       └── access token a            access token b             access token c     15 min each, signed, not stored
//
// A refresh token is 256 random bits; the store has its SHA-256. Spending it draws a random salt, kept beside the spent
// token for a short while; the successor is HMAC-SHA256(old token, salt). A client whose answer got lost may spend the
// same token again within RefreshGrace and gets the same successor, while neither a stolen old token alone nor a copy of
// the store alone yields the successor. After the grace, a second use means that two parties hold the token: the whole
// login ends.
//
// # Revocation
//
// A user row carries a generation and revoked_at. Revoking a user takes the row's lock, advances the generation and sets
// revoked_at to the next millisecond of the database's clock; issuing a token reads the row under a shared lock and takes
// its time from the same clock, never before revoked_at. So the two rules "generation in the token is older" (here) and
// "issued before revoked_at" (gateways) mean the same tokens, and a login right after a revocation works.
//
// Tokens signed elsewhere (HS256) carry no generation and an iat in whole seconds: one from the very second of a
// revocation counts as issued before it.
//
// State is cached for stateTTL at most, and dropped earlier when a revocation is announced on the bus: no replica accepts
// a revoked token for longer than that.
package auth

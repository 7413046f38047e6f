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
// token; the successor is HMAC-SHA256(old token, salt). So a spent token and the salts lead to the token that lives, while
// neither a stolen old token alone nor a copy of the store alone does. A spent token is good twice more:
//
//   - within RefreshGrace it gets the newest descendant. The tabs of a browser share a token, refresh it at the same time and
//     overtake each other: one may be two steps ahead when another asks with the token that all began with.
//   - as long as nobody has spent its successor it gets that one: the answer was lost, and whoever has it would have used it.
//
// Any other use means that two parties hold the tokens: the whole login ends. The salt of the token that was spent last is
// kept as long as the login, older ones only as long as the grace.
//
// # Revocation
//
// A user row carries a generation and revoked_at. Revoking a user takes the row's lock, advances the generation and sets
// revoked_at to the next millisecond of the database's clock; issuing a token reads the row under a shared lock and takes
// its time from the same clock, never before revoked_at. So the two rules "generation in the token is older" (here) and
// "issued before revoked_at" (gateways) mean the same tokens, and a login right after a revocation works.
//
// Tokens signed elsewhere (HS256) carry no generation and an iat in whole seconds: one from the very second of a
// revocation counts as issued before it. Their clock may be ahead of ours by the leeway: such an iat is noted with the user when
// the token comes, and revoked_at lies behind it.
//
// State is cached for stateTTL at most, and dropped earlier when a revocation is announced on the bus: no replica accepts
// a revoked token for longer than that. A gateway that has just heard of a revocation of the user has the store asked
// (Check.Fresh): it would not close a socket whose token another login system issued after a user was disabled.
package auth

// Package postgres is auth-service's store: users, logins, revocations and keys in the schema auth, by pgx.
//
// Locks are always taken in the order refresh token, user, login, revocation head, so that transactions do not deadlock.
// All times are those of the database's clock (clock_timestamp, read after the locks were taken), the one clock that
// replicas share.
package postgres

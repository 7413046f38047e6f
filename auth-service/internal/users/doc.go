// Package users is what other backends, operators and users themselves do to users and their logins: profiles, disabling, deletion,
// sessions. It stands on auth, which decides who is who, and declares the Store that it needs.
//
// Whatever takes a user's rights away is a revocation in the same transaction, so that no token and no socket outlives it, on any
// gateway, whoever dies in between: package auth says how. A disabled user keeps everything but the right to be let in. A deleted
// one loses what is known of them; the row stays, without anything of a person, so that no token makes the user again.
package users

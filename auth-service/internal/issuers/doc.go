// Package issuers verifies tokens that other login systems sign: an identity provider, whose public keys are read over HTTP, or a
// backend that shares a secret with us. It does no I/O; the keys come from a Keys that the composition gives it.
//
// A token names its issuer (iss) and its algorithm (alg), and both are only used to choose: the issuer that was chosen has a list
// of algorithms and one kind of keys, HS256 has a secret and the others have public keys, so no token can have a public key taken
// for a secret, nor a key of one issuer for that of another. What else a header says about keys (jku, jwk, x5u, x5c) is not read.
package issuers

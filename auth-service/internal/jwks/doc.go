// Package jwks reads the public keys of an issuer of tokens over HTTP (RFC 7517), from where the settings say or OpenID discovery does,
// and keeps them.
//
//	start ── read ──▶ keys known ── every Refresh: read ──▶ keys replaced
//	           │ failed, again soon        │ failed: the keys stay
//	           ▼                           │
//	     Unavailable                a token with an unknown kid: read now, if none of the last were too close
//
// Issuers publish a new key before they sign with it, or else with the first token: the first is found by the clock, the second by
// the token. Nobody makes us ask an issuer as often as they like: unknown keys take from a small bucket. An issuer that is away, or
// that answers with nothing that can be used, takes no key away that is known.
package jwks

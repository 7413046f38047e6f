// Package https makes the public side of a gateway speak TLS: with a certificate from files, which are read again when they change, or
// with one that an authority gives by ACME (RFC 8555). Beside it, it may listen for plain HTTP, where the authority's challenges are
// answered and everybody else is sent to HTTPS.
package https

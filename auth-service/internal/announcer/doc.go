// Package announcer publishes revocations to the gateways, counts the sockets that they closed, and lets this replica forget
// what it cached about revoked users.
package announcer

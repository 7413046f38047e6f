// Package revocations closes the sockets whose tokens auth-service has revoked. Revocations come by the bus within milliseconds; what is
// missed is found by asking auth-service for everything after the last one, at every reconnect and from time to time. Those of the last
// seconds are remembered, for tokens that were being checked meanwhile.
package revocations

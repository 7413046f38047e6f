// Package embedded runs a NATS server with JetStream inside the process, for the
// single-binary chat server and for tests.
package embedded

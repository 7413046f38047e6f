// Package bustest gives each test a NATS server with JetStream of its own.
package bustest

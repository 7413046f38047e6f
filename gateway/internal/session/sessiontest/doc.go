// Package sessiontest gives tests sessions without a network: a transport.Conn in memory that plays the client.
package sessiontest

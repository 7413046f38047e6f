// Package gateway is Starling's edge: it holds the clients' connections, speaks Engine.IO and Socket.IO with them, forwards
// their events to the services over NATS and fans room events out to them. It keeps nothing durable and knows no business
// rules. Run is its wiring diagram; docs/ARCHITECTURE.md tells the whole.
package gateway

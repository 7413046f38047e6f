// Package bus connects to NATS the way every Starling process does: it never
// gives up reconnecting, notices a dead server within 20 s, and fails a publish
// at once instead of keeping it while disconnected. Losses are found by sequence
// numbers, so on reconnect the owner resyncs.
package bus

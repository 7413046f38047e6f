package transport

import "time"

// Allowance bounds what a peer sends that no other limit counts: so many units at once, and so many a second. The zero value is
// full. It has no lock: its owner guards it.
type Allowance struct {
	used float64 // units
	at   int64   // Unix nanoseconds: when used was brought up to date
}

// Take takes units, or reports false when they are not there.
func (a *Allowance) Take(units, rate, burst float64, now time.Time) bool {
	at := now.UnixNano()
	a.used = max(0, a.used-rate*float64(max(0, at-a.at))/float64(time.Second))
	a.at = at
	if a.used+units > burst {
		return false
	}
	a.used += units
	return true
}

// Wait is how long it takes until units are there, counted from the Take that was refused.
func (a *Allowance) Wait(units, rate, burst float64) time.Duration {
	return time.Duration((a.used + units - burst) / rate * float64(time.Second))
}

// What a peer may send beside messages and events, each with a price in units. A price is about the work that it makes.
const (
	ControlRate  = 1_000  // units a second
	ControlBurst = 10_000 // units at once

	PriceControl  = 10 // a ping or pong of either protocol, or another packet that clients rarely send
	PriceAck      = 1  // an ack: a backend may ask for many
	priceFragment = 1  // a frame that does not end its message
)

package transport

import "time"

// Allowance bounds what a peer sends that no other limit counts: so many units at once, and so many a second. The zero value is
// full. It has no lock: its owner guards it. It is one word, because every connection has several.
type Allowance struct {
	used float32 // units
	at   uint32  // Unix milliseconds, without the high bits: when used was brought up to date
}

// Take takes units, or reports false when they are not there.
func (a *Allowance) Take(units, rate, burst float64, now time.Time) bool {
	at := uint32(now.UnixMilli())    //nolint:gosec // only differences count
	passed := max(0, int32(at-a.at)) //nolint:gosec // less than 24 days; after more a bucket may fill once later
	used := max(0, float64(a.used)-rate*float64(passed)/1000)
	taken := used+units <= burst
	if taken {
		used += units
	}
	a.used, a.at = float32(used), at
	return taken
}

// Wait is how long it takes until units are there, counted from the Take that was refused.
func (a *Allowance) Wait(units, rate, burst float64) time.Duration {
	return time.Duration((float64(a.used) + units - burst) / rate * float64(time.Second))
}

// Full tells whether nothing is missing: then it is as good as a new one.
func (a *Allowance) Full(rate float64, now time.Time) bool {
	passed := max(0, int32(uint32(now.UnixMilli())-a.at)) //nolint:gosec // as in Take
	return a.used == 0 || float64(a.used) <= rate*float64(passed)/1000
}

// What a peer may send beside messages and events, each with a price in units. A price is about the work that it makes.
const (
	ControlRate  = 1_000  // units a second
	ControlBurst = 10_000 // units at once

	PriceControl  = 10 // a ping or pong of either protocol, or another packet that clients rarely send
	PriceAck      = 1  // an ack: a backend may ask for many
	priceFragment = 1  // a frame that does not end its message
)

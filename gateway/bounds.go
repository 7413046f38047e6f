package gateway

import (
	"time"

	"github.com/starling-chat/starling/platform/settings"
)

// useless finds settings with which the gateway would start and serve nobody: packets too small for a token, times in which
// nothing can happen.
func (c *Config) useless() error {
	var faults settings.Faults
	for _, size := range []struct {
		name         string
		value, least int
	}{
		{"MAX_PAYLOAD", c.maxPayload(), firstPayload}, // a CONNECT with a token; browsers allow cookies of that size, too
		{"SEND_QUEUE_BYTES", c.Limits.SendQueueBytes, 16 << 10},
		{"MAX_EVENT_BYTES", c.Limits.EventBytes, 64},
	} {
		faults.If(size.value < size.least, "%s must be at least %d", size.name, size.least)
	}
	faults.If(c.Limits.Waiting < c.Limits.EventBytes, "EVENT_QUEUE_BYTES must not be less than MAX_EVENT_BYTES")
	for _, wait := range []struct {
		name         string
		value, least time.Duration
	}{
		{"PING_INTERVAL", c.Protocol.PingInterval, 100 * time.Millisecond},
		{"PING_TIMEOUT", c.Protocol.PingTimeout, 100 * time.Millisecond},
		{"CONNECT_TIMEOUT", c.Protocol.ConnectTimeout, 100 * time.Millisecond},
		{"FRAME_TIMEOUT", c.Limits.FrameTimeout, 100 * time.Millisecond},
		{"EVENT_TIMEOUT", c.Limits.EventTimeout, 100 * time.Millisecond},
		{"CLUSTER_TIMEOUT", c.Limits.ClusterTimeout, 10 * time.Millisecond},
		{"HTTP_IDLE_TIMEOUT", c.Limits.IdleTimeout, time.Second},
	} {
		faults.If(wait.value < wait.least, "%s must be at least %v", wait.name, wait.least)
	}
	return faults.Err()
}

package relay

import (
	"time"

	"github.com/starling-chat/starling/gateway/internal/quota"
)

// Config are the relay's own settings; what it stands on has its own.
type Config struct {
	GatewayID     string
	Events        EventLimits
	MaxRooms      int // a socket
	MaxHandshakes int // CONNECTs being authenticated, held or recovered at once
	AuthTimeout   time.Duration
	HoldConnect   time.Duration // for auth-service to come back
	Recovery      RecoveryLimits
	Users         quota.Limits
	// Services that must have announced their events before an event without responder is called unknown.
	Services []string
}

// EventLimits bound the client events.
type EventLimits struct {
	Rate        float64       // events a second and socket; 0 = no limit
	Burst       int           // events that one socket may send at once
	MaxBytes    int           // arguments and attachments of one event
	MaxQueued   int           // events of one socket that wait for the one before; reading stops beyond
	MaxInFlight int           // events of this gateway that wait for a service
	MaxWaiting  int           // bytes of the arguments of all events, queued or waiting for a service
	Timeout     time.Duration // for a service to answer
	Stall       time.Duration // for which this process may stand still before clients count as gone
}

// RecoveryLimits bound what is replayed to a socket that comes back.
type RecoveryLimits struct {
	MaxEvents  int           // missed events that are replayed at most
	PongWithin time.Duration // the longest time until a dead connection is noticed
}

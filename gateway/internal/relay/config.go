package relay

import "time"

// Config are the relay's settings.
type Config struct {
	GatewayID   string
	Incarnation int64 // Unix nanoseconds of the start

	EventRate     float64 // client events a second and socket; 0 = no limit
	EventBurst    int
	MaxEventBytes int // arguments and attachments of one client event
	MaxRooms      int // a socket
	MaxQueued     int // client events of one socket that wait for the one before; reading stops beyond
	MaxInFlight   int // client events of this gateway that wait for a service
	MaxWaiting    int // bytes of the arguments of client events, queued or waiting for a service
	MaxHandshakes int // CONNECTs being authenticated at once

	EventTimeout  time.Duration // a service's time to answer
	AuthTimeout   time.Duration
	Linger        time.Duration // a room's subscription after its last member left
	GapWait       time.Duration // how long a missing event may still come by itself
	HeadInterval  time.Duration // between comparisons of room heads
	LeaseInterval time.Duration // presence heartbeat

	PongWithin       time.Duration // the longest time until a dead connection is noticed
	RecoveryWindow   time.Duration // after a connection ended in which its sockets can be recovered; 0 = off
	RecoveryEvents   int           // missed events that are replayed at most
	RecoveryReplicas int           // of the bucket
	RecoveryBytes    int64         // of the bucket

	// Services that must have announced their events before an event without responder is called unknown.
	Services []string
}

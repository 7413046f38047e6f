//go:build sabotage

package sabotage

import (
	"os"
	"sync"
	"sync/atomic"
)

// How much is lost: seldom enough that the system works otherwise, often enough that half a minute shows it.
const (
	commitsPerLoss      = 100
	publicationsPerLoss = 50
	eventsPerLoss       = 200
	logEventsPerLoss    = 10 // there are few of them
)

// mode is read once.
var mode = sync.OnceValue(func() string { return os.Getenv("STARLING_SABOTAGE") }) //nolint:gochecknoglobals,forbidigo // no Config of the product may know of this

var commits, publications, events, logEvents atomic.Uint64 //nolint:gochecknoglobals // as above

// AckBeforeCommit tells chat-service to answer some batches without committing them.
func AckBeforeCommit() bool { return mode() == "ack-before-commit" }

// LoseCommit tells chat-service to answer a batch as if it were committed, and not to write it.
func LoseCommit() bool { return AckBeforeCommit() && commits.Add(1)%commitsPerLoss == 0 }

// NoOutbox tells chat-service to keep no outbox rows.
func NoOutbox() bool { return mode() == "no-outbox" }

// LosePublication tells chat-service not to publish a committed batch.
func LosePublication() bool { return NoOutbox() && publications.Add(1)%publicationsPerLoss == 0 }

// NoGapRepair tells a gateway to pass gaps on, and not to compare heads.
func NoGapRepair() bool { return mode() == "no-gap-repair" }

// NoEviction tells chat-service and gateways to leave the sockets of who is taken out of a room where they are.
func NoEviction() bool { return mode() == "no-eviction" }

// LoseEvent tells a gateway to overlook a room event.
func LoseEvent() bool { return NoGapRepair() && events.Add(1)%eventsPerLoss == 0 }

// NoLogRepair tells a gateway to pass gaps in users' logs on.
func NoLogRepair() bool { return mode() == "no-log-repair" }

// LoseLogEvent tells a gateway to overlook an event of a user's log.
func LoseLogEvent() bool { return NoLogRepair() && logEvents.Add(1)%logEventsPerLoss == 0 }

// LateActivity tells chat-service to tell how rooms stood the time before.
func LateActivity() bool { return mode() == "late-activity" }

// EditSkipsChanged tells chat-service to leave the version of an edited message as it was.
func EditSkipsChanged() bool { return mode() == "edit-skips-changed" }

//go:build !sabotage

package sabotage

// LoseCommit tells chat-service to roll a batch back and to answer as if it were committed.
func LoseCommit() bool { return false }

// NoOutbox tells chat-service to write no outbox rows.
func NoOutbox() bool { return false }

// LosePublication tells chat-service not to publish a committed batch.
func LosePublication() bool { return false }

// NoGapRepair tells a gateway to pass gaps on, and not to compare heads.
func NoGapRepair() bool { return false }

// LoseEvent tells a gateway to overlook a room event.
func LoseEvent() bool { return false }

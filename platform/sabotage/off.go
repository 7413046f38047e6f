//go:build !sabotage

package sabotage

// NoGapRepair tells a gateway to pass gaps on, and not to compare heads.
func NoGapRepair() bool { return false }

// LoseEvent tells a gateway to overlook a room event.
func LoseEvent() bool { return false }

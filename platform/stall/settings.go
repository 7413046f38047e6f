package stall

import (
	"errors"
	"time"
)

// DefaultLimit is the limit where nobody says another one.
const DefaultLimit = 3 * time.Second

// Settings are what the processes that read client events have.
type Settings struct {
	Limit time.Duration `name:"stall-limit" env:"STALL_LIMIT" default:"3s" help:"How long the process may stand still before what waited for it counts as old: clients that sent something are closed and recover, requests are dropped. A duration of 1s to 1h."`
}

// Validate tells what is wrong with the settings, in one line.
func (s *Settings) Validate() error {
	if s.Limit < time.Second || s.Limit > time.Hour {
		return errors.New("STALL_LIMIT must be 1s to 1h")
	}
	return nil
}

// Package faulttest helps tests that look at refusals.
package faulttest

import (
	"errors"

	"github.com/starling-chat/starling/proto/fault"
)

// Word is a refusal in short: its code and its reason; "ok" = none.
func Word(err error) string {
	if err == nil {
		return "ok"
	}
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err.Error()
	}
	if f.Reason == "" {
		return string(f.Kind)
	}
	return string(f.Kind) + " " + string(f.Reason)
}

package fault_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/starling-chat/starling/proto/fault"
	"github.com/starling-chat/starling/proto/fault/faulttest"
)

func TestLogHidesMistakes(t *testing.T) {
	for name, err := range map[string]error{
		"plain":               errors.New("secret sql"),
		"wrapped":             fmt.Errorf("act: %w", errors.New("secret sql")),
		"internal with cause": &fault.Error{Kind: fault.Internal, Message: "Internal error", Cause: errors.New("secret sql")},
		"internal, no words":  fault.New(fault.Internal, ""),
	} {
		t.Run(name, func(t *testing.T) {
			var log faulttest.Log
			f := fault.Log(t.Context(), log.Logger(), err)
			if f.Kind != fault.Internal || strings.Contains(f.Message, "secret") {
				t.Errorf("Log(%v) = %v %q, want internal without the cause", err, f.Kind, f.Message)
			}
			log.WantID(t, f.Message)

			again := fault.Log(t.Context(), log.Logger(), fmt.Errorf("on its way: %w", f))
			if again.Message != f.Message {
				t.Errorf("Log of a logged fault = %q, want %q", again.Message, f.Message)
			}
			passedOn := fault.Log(t.Context(), log.Logger(), fault.FromStatus(fault.ToStatus(f)))
			if passedOn.Message != f.Message {
				t.Errorf("Log of a fault from another process = %q, want %q", passedOn.Message, f.Message)
			}
			log.WantID(t, f.Message) // still one line
		})
	}
}

func TestLogPassesRefusalsOn(t *testing.T) {
	var log faulttest.Log
	if f := fault.Log(t.Context(), log.Logger(), nil); f != nil {
		t.Errorf("Log(nil) = %v, want nil", f)
	}
	for want, err := range map[fault.Kind]error{
		fault.NotFound:    fmt.Errorf("read: %w", fault.New(fault.NotFound, "No such room")),
		fault.Timeout:     fmt.Errorf("ask: %w", context.DeadlineExceeded),
		fault.Unavailable: context.Canceled,
		fault.Conflict:    &fault.Error{Kind: fault.Conflict, Message: "Busy", Cause: errors.New("secret")},
	} {
		if f := fault.Log(t.Context(), log.Logger(), err); f.Kind != want || strings.Contains(f.Message, "secret") {
			t.Errorf("Log(%v) = %v %q, want %v", err, f.Kind, f.Message, want)
		}
	}
	if log.String() != "" {
		t.Errorf("log = %s, want nothing", log.String())
	}
}

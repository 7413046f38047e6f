//go:build sabotage

package gateway

import (
	"testing"

	"github.com/starling-chat/starling/gateway/internal/roomfeed"
)

// TestLeakySource: what is missing is filled with events that nobody gets, and no head is told.
func TestLeakySource(t *testing.T) {
	var s roomfeed.Source = leakySource{}
	events, err := s.FromService(t.Context(), "r", 3, 5)
	if err != nil || len(events) != 2 || events[0].GetSeq() != 4 || events[1].GetSeq() != 5 || events[0].GetRoomId() != "r" || events[0].GetEmit() != nil {
		t.Errorf("FromService = %v, %v, want blank events 4 and 5 of r", events, err)
	}
	if heads, err := s.Heads(t.Context(), []string{"r"}); len(heads) != 0 || err != nil {
		t.Errorf("Heads = %v, %v, want none", heads, err)
	}
}

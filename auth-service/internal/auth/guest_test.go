package auth

import "testing"

// TestGuestsOff: nothing is asked of the store while guests are not let in.
func TestGuestsOff(t *testing.T) {
	s, _ := newTestService(t, testConfig())
	s.store = nil
	if _, err := s.Guest(t.Context(), "Zoë", "192.0.2.7"); ResultOf(err) != ResultRefused {
		t.Errorf("Guest() while guests are off = %v, want a refusal", err)
	}
	if e := s.recorder.(*recorded).last(); e.Act != ActGuest || e.Result != ResultRefused || e.Address != "192.0.2.7" { //nolint:forcetypeassert // of the test
		t.Errorf("recorded %+v, want a refused guest", e)
	}
}

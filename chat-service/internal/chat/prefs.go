package chat

// Prefs are how a user wants a room shown on all devices. They mean nothing here; nobody else learns them.
type Prefs struct{ Muted, Hidden, Pinned bool }

// PrefsChanged is me:prefs, a fact of a user's log.
type PrefsChanged struct {
	Room  RoomID
	Prefs Prefs
}

func (PrefsChanged) fact() {}

package namespaces

import (
	"slices"
	"testing"
)

func TestListsAgree(t *testing.T) {
	if len(All()) != Count {
		t.Errorf("All() = %v, want Count %d", All(), Count)
	}
	for _, namespace := range append(All(), "", "/x", "chat", "/Chat", "/chat/") {
		if got, want := Exists(namespace), slices.Contains(All(), namespace); got != want {
			t.Errorf("Exists(%q) = %v, want %v", namespace, got, want)
		}
		if got, want := HasRooms(namespace), slices.Contains(WithRooms(), namespace); got != want {
			t.Errorf("HasRooms(%q) = %v, want %v", namespace, got, want)
		}
	}
}

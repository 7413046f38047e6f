package transport

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// TestReasons: they are all that there are.
func TestReasons(t *testing.T) {
	source, err := os.ReadFile("conn.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`\tReason\w+\s+Reason = "(\w+)"`).FindAllSubmatch(source, -1)
	if len(found) == 0 || len(found) != len(Reasons()) {
		t.Errorf("%d reasons, %d in the source", len(Reasons()), len(found))
	}
	for _, m := range found {
		if !slices.Contains(Reasons(), Reason(m[1])) {
			t.Errorf("Reasons lacks %s", m[1])
		}
	}
}

package auth

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// TestSeriesOfEvents: Acts and TokenCauses are all that there are.
func TestSeriesOfEvents(t *testing.T) {
	source, err := os.ReadFile("event.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\tAct\w+\s+Act = "(\w+)"`).FindAllSubmatch(source, -1) {
		if !slices.Contains(Acts(), Act(m[1])) {
			t.Errorf("Acts lacks %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`return "(\w+)"|\{[\w.]+, "(\w+)"\}`).FindAllSubmatch(source, -1) {
		if cause := string(m[1]) + string(m[2]); !slices.Contains(TokenCauses(), cause) {
			t.Errorf("TokenCauses lacks %s", cause)
		}
	}
}

package helmtest

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentedValues: the values that docs/operations.md shows for production are taken by the chart.
func TestDocumentedValues(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
		values, _, ended := strings.Cut(block, "```")
		if !ended {
			t.Fatal("docs/operations.md has a block that does not end")
		}
		if len(objects(t, values)) == 0 {
			t.Errorf("nothing comes of the values\n%s", values)
		}
		shown++
	}
	if shown == 0 {
		t.Error("docs/operations.md shows no values")
	}
}

package gateway_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRelayStaysSmall: relay is what other packages were taken out of. Who adds to it beyond this takes something coherent out first.
func TestRelayStaysSmall(t *testing.T) {
	const most = 2700
	files, err := filepath.Glob("internal/relay/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("files of relay: %q, %v", files, err)
	}
	lines := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines += bytes.Count(text, []byte("\n"))
	}
	if lines >= most {
		t.Errorf("internal/relay has %d lines, want fewer than %d", lines, most)
	}
}

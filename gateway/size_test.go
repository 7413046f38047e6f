package gateway_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPackagesStaySmall: relay and transport are what other packages were taken out of. Who adds to a package beyond this takes something
// coherent out first.
func TestPackagesStaySmall(t *testing.T) {
	const most = 2700
	lines := map[string]int{}
	files, err := filepath.Glob("internal/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines[filepath.Dir(file)] += bytes.Count(text, []byte("\n"))
	}
	if lines["internal/relay"] == 0 || lines["internal/transport"] == 0 {
		t.Errorf("lines of the packages = %v, want relay and transport among them", lines)
	}
	for dir, n := range lines {
		if n >= most {
			t.Errorf("%s has %d lines, want fewer than %d", dir, n, most)
		}
	}
}

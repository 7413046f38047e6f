package chatservice_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPackagesStaySmall: a package that a reader can hold. Who adds beyond this takes something coherent out first.
func TestPackagesStaySmall(t *testing.T) {
	const most = 2700
	files, err := filepath.Glob("internal/*/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("files: %q, %v", files, err)
	}
	lines := map[string]int{}
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
	for dir, n := range lines {
		if n >= most {
			t.Errorf("%s has %d lines, want fewer than %d", dir, n, most)
		}
	}
}

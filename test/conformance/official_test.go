package conformance

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// officialSuite is the official server's place among the running ones.
const officialSuite = "official"

// officialServer gives the base URL of npm's socket.io, started at its first use. Without Node or its packages the test is skipped,
// unless CONFORMANCE_OFFICIAL says that they are there.
func officialServer(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join("clients", "node_modules", "socket.io", "package.json"))
	}
	switch {
	case err != nil && os.Getenv("CONFORMANCE_OFFICIAL") != "":
		t.Fatalf("the official server is not installed: %v", err)
	case err != nil:
		t.Skip("the official server is not installed: npm ci in test/conformance/clients, or make conformance")
	}
	servers.mu.Lock()
	defer servers.mu.Unlock()
	if p := servers.running[officialSuite]; p != nil {
		return p.url
	}
	p, err := listening(exec.Command(node, filepath.Join("clients", "official.js")))
	if err != nil {
		t.Fatalf("start the official server: %v", err)
	}
	servers.running[officialSuite] = p
	return p.url
}

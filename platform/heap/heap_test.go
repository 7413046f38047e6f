package heap

import (
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

const mib = 1 << 20

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		name  string
		floor uint64
		usage usage
		want  int
	}{
		{"the floor is reached", 64 * mib, usage{live: 14 * mib, stacks: 1 * mib, globals: 1 * mib}, 313},
		{"more than half of it lives", 64 * mib, usage{live: 40 * mib}, 100},
		{"more than all of it lives", 64 * mib, usage{live: 90 * mib}, 100},
		{"nearly nothing lives", 64 * mib, usage{live: 1000}, 3200},
		{"nothing was collected", 64 * mib, usage{}, 3200},
	} {
		if got := percent(c.floor, c.usage); got != c.want {
			t.Errorf("%s: %d %%, want %d", c.name, got, c.want)
		}
	}
}

// TestHoldFloor allocates the same in processes of their own, since HoldFloor lasts as long as its process.
func TestHoldFloor(t *testing.T) {
	if floor := os.Getenv("TEST_FLOOR"); floor != "" {
		t.Log("collections", collections(t, floor))
		return
	}
	plain, held, decided := inProcess(t, "0", ""), inProcess(t, "64", ""), inProcess(t, "64", "90")
	t.Logf("collections: %d without a floor, %d with, %d with GOGC", plain, held, decided)
	if held*3 > plain {
		t.Errorf("%d collections with a floor, %d without", held, plain)
	}
	if decided*2 < plain {
		t.Errorf("%d collections where GOGC is set, %d without a floor", decided, plain)
	}
}

func inProcess(t *testing.T, floor, gogc string) (n int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHoldFloor$", "-test.v")
	cmd.Env = append(os.Environ(), "TEST_FLOOR="+floor, "GOGC="+gogc)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, after, _ := strings.Cut(string(out), "collections ")
	n, err = strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var sink []byte

// collections of 1 GiB of garbage, once the floor holds.
func collections(t *testing.T, floor string) int64 {
	t.Helper()
	n, err := strconv.ParseUint(floor, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	HoldFloor(n * mib)
	held := make(chan struct{})
	runtime.AddCleanup(&sentinel{}, func(struct{}) { close(held) }, struct{}{})
	runtime.GC()
	<-held
	runtime.GC() // the percentage of the one before counts from here
	var before, after debug.GCStats
	debug.ReadGCStats(&before)
	for range 1 << 14 {
		sink = make([]byte, 64<<10)
	}
	debug.ReadGCStats(&after)
	return after.NumGC - before.NumGC
}

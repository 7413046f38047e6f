//go:build linux

package swarm

import "testing"

func TestInt(t *testing.T) {
	for in, want := range map[string]int64{`{"seq":12,"a":1}`: 12, `{"seq":0}`: 0, `{"seq":"x"}`: -1, `{}`: -1} {
		got, ok := Int([]byte(in), []byte(`"seq":`))
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("Int(%q) = %d, want %d", in, got, want)
		}
	}
}

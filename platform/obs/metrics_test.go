package obs

import (
	"runtime/debug"
	"testing"
)

// TestVersion: what is running has a name by which it is told from others.
func TestVersion(t *testing.T) {
	built := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}
	}
	commit := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef0123"}
	for _, tc := range []struct {
		release string
		info    *debug.BuildInfo
		want    string
	}{
		{"1.2.3", built("(devel)", commit), "1.2.3"},
		{"", built("v1.2.4"), "v1.2.4"},
		{"", built("(devel)", commit), "0123456789ab"},
		{"", built("(devel)", commit, debug.BuildSetting{Key: "vcs.modified", Value: "true"}), "0123456789ab-changed"},
		{"", built("(devel)"), "unknown"},
		{"", nil, "unknown"},
	} {
		if got := versionOf(tc.release, tc.info); got != tc.want {
			t.Errorf("versionOf(%q, %+v) = %s, want %s", tc.release, tc.info, got, tc.want)
		}
	}
}

package grpcapi

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
)

// TestCollect: answers wait for one another from the first on, and no longer than they may.
func TestCollect(t *testing.T) {
	away := fault.New(fault.Unavailable, "away")
	for name, tc := range map[string]struct {
		after  []time.Duration // when each is answered
		errs   []error
		took   time.Duration
		late   int
		nobody bool
	}{
		"all at once":              {[]time.Duration{0, 0, 0}, []error{nil, nil, nil}, 0, 0, false},
		"one a bit later":          {[]time.Duration{0, straggle - 1, 0}, []error{nil, nil, nil}, straggle - 1, 0, false},
		"one too late":             {[]time.Duration{time.Second, time.Minute, time.Second}, []error{nil, nil, nil}, time.Second + straggle, 1, false},
		"all late":                 {[]time.Duration{time.Minute, time.Minute}, []error{nil, nil}, time.Minute, 0, false},
		"one unavailable":          {[]time.Duration{0, 0}, []error{away, nil}, 0, 0, false},
		"all unavailable":          {[]time.Duration{0, 0}, []error{away, away}, 0, 0, true},
		"unavailable and too late": {[]time.Duration{0, time.Minute}, []error{away, nil}, straggle, 0, true},
		"none":                     {nil, nil, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answers := make(chan judged, len(tc.after))
				for i, d := range tc.after {
					time.AfterFunc(d, func() { answers <- judged{i, &authv1.AuthenticateResult{}, tc.errs[i]} })
				}
				start := time.Now()
				results, err := collect(answers, len(tc.after))
				late := 0
				for _, r := range results {
					if r.GetFault().GetCode() == string(fault.Unavailable) {
						late++
					}
				}
				if took := time.Since(start); took != tc.took || late != tc.late || (err != nil) != tc.nobody {
					t.Errorf("collect() = %d late, %v, after %v, want %d, an error: %v, %v", late, err, took, tc.late, tc.nobody, tc.took)
				}
			})
		})
	}
}

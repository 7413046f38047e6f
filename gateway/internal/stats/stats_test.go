package stats

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/starling-chat/starling/gateway/internal/transport"
)

// registered collects what is registered.
type registered struct {
	prometheus.Registerer

	all []prometheus.Collector
}

func (r *registered) MustRegister(all ...prometheus.Collector) { r.all = append(r.all, all...) }

// TestSeriesBegin: every counter is there from the start, at 0.
func TestSeriesBegin(t *testing.T) {
	r := &registered{}
	s := New(r, func() int64 { return 0 })
	for _, c := range r.all {
		if testutil.CollectAndCount(c) == 0 {
			descriptions := make(chan *prometheus.Desc, 1)
			c.Describe(descriptions)
			t.Errorf("%s has no series at the start", <-descriptions)
		}
	}
	if n := testutil.CollectAndCount(s.Disconnects); n != len(transport.Reasons()) {
		t.Errorf("%d series of disconnects, want one for each reason", n)
	}
	source, err := os.ReadFile("../relay/resume.go")
	if err != nil {
		t.Fatal(err)
	}
	before := testutil.CollectAndCount(s.Recoveries)
	for _, m := range regexp.MustCompile(`return (?:nil, )?"(\w+)", |why = "(\w+)"|sessionEnded = "(\w+)"|Recoveries\.WithLabelValues\("(\w+)"`).FindAllSubmatch(source, -1) {
		s.Recoveries.WithLabelValues(string(slices.Concat(m[1:]...)))
	}
	if n := testutil.CollectAndCount(s.Recoveries); n != before {
		t.Errorf("%d results of recoveries begin with their first one", n-before)
	}
}

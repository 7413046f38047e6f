package check

import (
	"slices"
	"strings"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// What processes are held against. A run of a minute shows what runs away, a soak of half an hour shows what leaks.
const (
	mostRSS      = 768 << 20
	flatFactor   = 1.5
	flatSlack    = 64 << 20
	flatAtLeast  = 40 * time.Second // of load that an incarnation has to see before its trend means anything
	flatWarm     = 10 * time.Minute // below, PostgreSQL is still filling its buffers
	flatSamples  = 8
	slowFactor   = 2
	slowSlack    = 10 * time.Millisecond
	slowSettle   = 2 * time.Second // after another fault
	slowAtLeast  = 500             // deliveries that a p99 needs
	sendQueue    = 256<<10 + 1     // bytes to one conn, and one message beside it
	sendMessage  = 1_000_000
	outboxSettle = 500 // rows: what a running system may have on its way, counted every few seconds
)

// resources is invariant 11.
func resources(x *index, r *Result) {
	memory(x, r)
	queues(x, r)
	slowClients(x, r)
}

// memory compares, for each incarnation of a process, the last quarter of its time under load with the second one: the first
// is warming up.
func memory(x *index, r *Result) {
	type incarnation struct {
		process string
		pid     int
	}
	load := max(x.h.Config.Stopped, x.h.Config.Healed)
	samples := make(map[incarnation][]*history.Sample)
	var all []incarnation
	for i := range x.h.Samples {
		s := &x.h.Samples[i]
		if s.RSS > mostRSS && !strings.HasPrefix(s.Process, "postgres") {
			r.fail(x, s.At, "%s uses %d MiB at %s", s.Process, s.RSS>>20, clock(s.At))
		}
		if s.At < 0 || load > 0 && s.At > load {
			continue
		}
		k := incarnation{s.Process, s.PID}
		if samples[k] == nil {
			all = append(all, k)
		}
		samples[k] = append(samples[k], s)
	}
	for _, k := range all {
		list := samples[k]
		first, last := list[0].At, list[len(list)-1].At
		span := last - first
		if span < flatAtLeast || len(list) < flatSamples || strings.HasPrefix(k.process, "postgres") && span < flatWarm {
			continue
		}
		r.Checked++
		early := median(list, first+span/4, first+span/2)
		late := median(list, last-span/4, last)
		if late > int64(flatFactor*float64(early)) && late > early+flatSlack {
			r.fail(x, last, "%s (pid %d) grew from %d MiB to %d MiB between %s and %s", k.process, k.pid, early>>20, late>>20,
				clock(first+span/4), clock(last))
		}
	}
	if load < flatWarm {
		r.note("memory is judged over %s: what leaks less than %d MiB in it is not seen", load.Round(time.Second), flatSlack>>20)
	}
}

func median(list []*history.Sample, from, to history.Time) int64 {
	var rss []int64
	for _, s := range list {
		if s.At >= from && s.At <= to {
			rss = append(rss, s.RSS)
		}
	}
	if len(rss) == 0 {
		return 0
	}
	slices.Sort(rss)
	return rss[len(rss)/2]
}

// queues checks the gauges against the bounds of docs/ARCHITECTURE.md. The outbox has none while the stream is away; in the end
// it has to be empty, save for what is on its way.
func queues(x *index, r *Result) {
	last := make(map[string]*history.Sample)
	for i := range x.h.Samples {
		s := &x.h.Samples[i]
		if bytes, known := gauge(s, "outbound_queue_bytes"); known {
			r.Checked++
			conns, _ := gauge(s, "gateway_connections")
			if bound := conns*sendQueue + sendMessage; bytes > bound {
				r.fail(x, s.At, "%s has %.0f bytes in send queues at %s, for %.0f connections", s.Process, bytes, clock(s.At), conns)
			}
		}
		if _, known := gauge(s, "outbox_lag"); known {
			last[s.Process] = s
		}
	}
	for name, s := range last {
		rows, _ := gauge(s, "outbox_lag")
		if s.At < x.h.Config.Healed+settleTime {
			continue
		}
		r.Checked++
		if rows > outboxSettle {
			r.fail(x, s.At, "%s counts %.0f rows in the outbox at %s, %s after all was healed", name, rows, clock(s.At),
				(s.At - x.h.Config.Healed).Round(time.Second))
		}
	}
}

// gauge finds a gauge by the end of its name, labels aside.
func gauge(s *history.Sample, suffix string) (float64, bool) {
	sum, known := 0.0, false
	for name, v := range s.Gauges {
		name, _, _ = strings.Cut(name, "{")
		if strings.HasSuffix(name, suffix) {
			sum, known = sum+v, true
		}
	}
	return sum, known
}

// slowClients compares the delivery latency of clients that read, while others stall and nothing else happens, with that of
// quiet stretches.
func slowClients(x *index, r *Result) {
	var stalls, others []interval
	for i := range x.h.Faults {
		f := &x.h.Faults[i]
		if f.Nemesis == "slow" && len(f.Users) > 0 {
			stalls = append(stalls, interval{f.Start, x.endOfFault(f)})
		} else {
			others = append(others, interval{f.Start, max(x.endOfFault(f), f.Service) + slowSettle})
		}
	}
	if len(stalls) == 0 {
		return
	}
	stalled, busy := merged(stalls), merged(others)
	var during, quiet []time.Duration
	Latencies(x.h, func(d *history.Delivery, took time.Duration) {
		switch {
		case !x.user(int(d.User)) || x.h.Users[d.User].Slow || d.At > x.h.Config.Stopped || busy.meet(d.At-took, d.At):
		case stalled.meet(d.At-took, d.At):
			during = append(during, took)
		default:
			quiet = append(quiet, took)
		}
	})
	if len(during) < slowAtLeast || len(quiet) < slowAtLeast {
		r.note("too few deliveries to compare latency with and without stalled clients: %d, %d", len(during), len(quiet))
		return
	}
	r.Checked++
	with, without := Quantile(during, 0.99), Quantile(quiet, 0.99)
	r.note("delivery p99 %s while clients stall, %s otherwise", with.Round(time.Microsecond), without.Round(time.Microsecond))
	if with > slowFactor*without+slowSlack {
		r.fail(x, stalled[0].from, "delivery p99 of clients that read is %s while others stall, %s otherwise", with, without)
	}
}

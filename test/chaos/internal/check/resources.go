package check

import (
	"slices"
	"strings"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// The bounds of what processes use. A run of a minute shows what runs away, a soak of half an hour shows what leaks.
const (
	mostRSS        = 768 << 20
	flatFactor     = 1.5
	flatSlack      = 64 << 20
	flatAtLeast    = 40 * time.Second // of load that an incarnation has to see before its trend means anything
	flatWarm       = 10 * time.Minute // below, PostgreSQL and NATS are still filling their buffers
	flatSamples    = 8
	slowFactor     = 2
	slowSlack      = 500 * time.Millisecond // a busy machine; who waits for a client that stalls waits for seconds
	slowAfter      = 2 * time.Second        // after another fault, until latencies count
	slowAtLeast    = 500                    // deliveries that a p99 needs
	sendQueue      = 128 << 10              // SEND_QUEUE_BYTES of histories that do not tell it: bytes to one conn, and one message beside it
	sendMessage    = 1_000_000
	outboxInFlight = 500 // rows that a running system may have in flight, counted every few seconds
)

// resources is invariant 11.
func resources(x *index, r *Result) {
	memory(x, r)
	queues(x, r)
	slowClients(x, r)
}

// memory compares, for each incarnation of a process, the last quarter of its time under load with the second one: the first
// is warming up. In a soak it also compares, for each process over all its incarnations, the last third of the load with the
// second one: processes that are killed every minute must not need more each time.
func memory(x *index, r *Result) {
	type incarnation struct {
		process string
		pid     int
	}
	load := max(x.h.Config.Stopped, x.h.Config.Healed)
	samples := make(map[incarnation][]*history.Sample)
	lives := make(map[string][]*history.Sample)
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
		lives[s.Process] = append(lives[s.Process], s)
	}
	for _, k := range all {
		list := samples[k]
		first, last := list[0].At, list[len(list)-1].At
		span := last - first
		if span < flatAtLeast || len(list) < flatSamples || span < flatWarm && (strings.HasPrefix(k.process, "postgres") || strings.HasPrefix(k.process, "nats")) {
			continue
		}
		r.Checked++
		early := median(list, first+span/4, first+span/2)
		late := median(list, last-span/4, last)
		if grew(early, late) {
			r.fail(x, last, "%s (pid %d) grew from %d MiB to %d MiB between %s and %s", k.process, k.pid, early>>20, late>>20,
				clock(first+span/4), clock(last))
		}
	}
	if load >= flatWarm {
		for name, list := range lives {
			r.Checked++
			if early, late := median(list, load/3, load*2/3), median(list, load*2/3, load); grew(early, late) {
				r.fail(x, load, "%s used %d MiB in the second third of the load and %d MiB in the last", name, early>>20, late>>20)
			}
		}
	} else {
		r.note("memory is judged over %s: what leaks less than %d MiB in it is not seen", load.Round(time.Second), flatSlack>>20)
	}
}

func grew(early, late int64) bool {
	return late > int64(flatFactor*float64(early)) && late > early+flatSlack
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
// it has to be empty, save for what is in flight.
func queues(x *index, r *Result) {
	last := make(map[string]*history.Sample)
	perConn := float64(x.h.Config.SendQueue)
	if perConn == 0 {
		perConn = sendQueue
	}
	most := -1.0
	for i := range x.h.Samples {
		s := &x.h.Samples[i]
		expected(x, r, s)
		if bytes, known := gauge(s, "outbound_queue_bytes"); known {
			r.Checked++
			most = max(most, bytes)
			conns, _ := gauge(s, "gateway_connections")
			if bound := conns*perConn + sendMessage; bytes > bound {
				r.fail(x, s.At, "%s has %.0f bytes in send queues at %s, for %.0f connections", s.Process, bytes, clock(s.At), conns)
			}
		}
		if _, known := gauge(s, "outbox_lag"); known {
			last[s.Process] = s
		}
	}
	if most == 0 {
		r.note("no send queue was ever seen to hold anything: its bound was not put to the test")
	}
	for name, s := range last {
		rows, _ := gauge(s, "outbox_lag")
		if s.At < x.h.Config.Healed+recoveryTime {
			continue
		}
		r.Checked++
		if rows > outboxInFlight {
			r.fail(x, s.At, "%s counts %.0f rows in the outbox at %s, %s after all was healed", name, rows, clock(s.At),
				(s.At - x.h.Config.Healed).Round(time.Second))
		}
	}
}

// expected wants a process that shows gauges to show those that are judged here.
func expected(x *index, r *Result, s *history.Sample) {
	names := map[string][]string{"gateway": {"outbound_queue_bytes", "gateway_connections"}, "chat": {"outbox_lag"}}
	kind, _, _ := strings.Cut(s.Process, "-")
	for _, name := range names[kind] {
		if _, known := gauge(s, name); !known && s.Gauges != nil {
			r.fail(x, s.At, "%s has no gauge %s at %s", s.Process, name, clock(s.At))
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
// quiet stretches of the same length, the worst of them: the p99 of a few seconds varies, most of all on a machine that others
// use too.
func slowClients(x *index, r *Result) {
	var stalls, others []interval
	for _, f := range x.faults {
		if f.Nemesis == "slow" && len(f.Users) > 0 {
			stalls = append(stalls, interval{f.Start, x.endOfFault(f)})
		} else {
			others = append(others, interval{f.Start, max(x.endOfFault(f), f.Service) + slowAfter})
		}
	}
	if len(stalls) == 0 {
		return
	}
	stalled, busy := merged(stalls), merged(others)
	window := max(stalled.total()/history.Time(len(stalls)), time.Second)
	var during []time.Duration
	quiet := make(map[history.Time][]time.Duration) // by window
	total := 0
	Latencies(x.h, func(d *history.Delivery, took time.Duration) {
		took -= x.stalled(d.At-took, d.At)
		switch {
		case !x.user(int(d.User)) || x.h.Users[d.User].Slow || d.At > x.h.Config.Stopped || busy.meet(d.At-took, d.At):
		case stalled.meet(d.At-took, d.At):
			during = append(during, took)
		default:
			quiet[d.At/window] = append(quiet[d.At/window], took)
			total++
		}
	})
	if len(during) < slowAtLeast || total < slowAtLeast {
		r.note("too few deliveries to compare latency with and without stalled clients: %d, %d", len(during), total)
		return
	}
	r.Checked++
	with, without := Quantile(during, 0.99), time.Duration(0)
	for _, took := range quiet {
		if len(took) >= slowAtLeast {
			without = max(without, Quantile(took, 0.99))
		}
	}
	r.note("delivery p99 %s while clients stall, %s at most in other stretches of %s", with.Round(time.Microsecond),
		without.Round(time.Microsecond), window.Round(time.Second))
	if with > slowFactor*without+slowSlack {
		r.fail(x, stalled[0].from, "delivery p99 of clients that read is %s while others stall, %s at most otherwise", with, without)
	}
}

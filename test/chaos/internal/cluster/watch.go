package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/internal/launch"
	"github.com/starling-chat/starling/test/internal/proc"
)

// Ready reports whether every service's readiness endpoint says so.
func (c *Cluster) Ready(ctx context.Context) bool { return len(c.notReady(ctx)) == 0 }

// allReady fails with the names of the services that are not ready.
func (c *Cluster) allReady(ctx context.Context) error {
	if names := c.notReady(ctx); len(names) > 0 {
		return fmt.Errorf("%s not ready", strings.Join(names, ", "))
	}
	return nil
}

func (c *Cluster) notReady(ctx context.Context) (names []string) {
	var (
		all sync.WaitGroup
		mu  sync.Mutex
	)
	for _, s := range c.services {
		all.Go(func() {
			if err := launch.Get(ctx, "http://"+s.admin+"/readyz", nil); err != nil {
				mu.Lock()
				names = append(names, s.Name)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(names)
	return names
}

// Watch is what was noticed while the system ran.
type Watch struct {
	Ready   []history.Time // when all were ready, ascending
	Samples []history.Sample
}

const (
	readyEvery  = 250 * time.Millisecond
	sampleEvery = time.Second
	gaugesEvery = 5 * time.Second

	scrapeTimeout = 2 * time.Second
)

// Watch looks at all processes until ctx ends. clock is the run's.
func (c *Cluster) Watch(ctx context.Context, clock func() history.Time) *Watch {
	w := new(Watch)
	var both sync.WaitGroup
	both.Go(func() {
		for ticker := time.NewTicker(readyEvery); wait(ctx, ticker); {
			asked := clock()
			if c.Ready(ctx) {
				w.Ready = append(w.Ready, asked)
			}
		}
	})
	both.Go(func() {
		var gauges time.Time
		for ticker := time.NewTicker(sampleEvery); wait(ctx, ticker); {
			asked := time.Since(gauges) >= gaugesEvery
			if asked {
				gauges = time.Now()
			}
			w.Samples = append(w.Samples, c.sample(ctx, clock, asked)...)
		}
	})
	both.Wait()
	return w
}

// wait returns false, and stops the ticker, when ctx ends.
func wait(ctx context.Context, ticker *time.Ticker) bool {
	select {
	case <-ticker.C:
		return true
	case <-ctx.Done():
		ticker.Stop()
		return false
	}
}

func (c *Cluster) sample(ctx context.Context, clock func() history.Time, gauges bool) (list []history.Sample) {
	for _, p := range c.processes() {
		if pid := p.PID(); pid != 0 {
			list = append(list, history.Sample{At: clock(), Process: p.Name, PID: pid, RSS: proc.Memory(pid, proc.Resident), CPU: proc.CPU(pid)})
		}
	}
	if pid := c.Postgres.PID(); pid != 0 {
		sample := history.Sample{At: clock(), Process: "postgres", PID: pid}
		for _, p := range append(proc.Children(pid), pid) {
			sample.RSS += proc.Memory(p, proc.Anonymous) // the buffers are shared by all of them
			sample.CPU += proc.CPU(p)
		}
		list = append(list, sample)
	}
	if !gauges {
		return list
	}
	var all sync.WaitGroup
	for i := range list {
		for _, s := range c.services {
			if s.Name == list[i].Process {
				all.Go(func() { list[i].Gauges = scrape(ctx, "http://"+s.admin+"/metrics") })
			}
		}
	}
	all.Wait()
	return list
}

// scrape reads the gauges of Starling, goroutines, heap and descriptors. Those with labels are added up.
func scrape(ctx context.Context, address string) map[string]float64 {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer func() { _ = res.Body.Close() }()
	return parseGauges(res.Body)
}

// parseGauges reads Prometheus' text format.
func parseGauges(r io.Reader) map[string]float64 {
	others := []string{"go_goroutines", "go_memstats_heap_inuse_bytes", "process_open_fds"}
	gauges, kept := map[string]float64{}, ""
	for lines := bufio.NewScanner(r); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) == 4 && fields[1] == "TYPE":
			kept = ""
			if fields[3] == "gauge" && (strings.HasPrefix(fields[2], "starling_") || slices.Contains(others, fields[2])) {
				kept = fields[2]
			}
		case kept != "" && len(fields) >= 2 && fields[0] != "#":
			if value, err := strconv.ParseFloat(fields[len(fields)-1], 64); err == nil {
				gauges[kept] += value
			}
		}
	}
	return gauges
}

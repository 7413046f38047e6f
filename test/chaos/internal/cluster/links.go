package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"

	"github.com/starling-chat/starling/test/internal/launch"
)

// Links are the proxies between the processes, by "from>to".
type Links struct {
	server *toxiproxy.ApiServer
	ports  *launch.Ports

	mu      sync.Mutex
	proxies map[string]*toxiproxy.Proxy // guarded by mu
}

// Toxic is one disturbance of a link.
type Toxic struct {
	Type       string         // of Toxiproxy, or "stall"
	Upstream   bool           // from the one who connects; otherwise towards it
	Share      float32        // of the connections that are affected; 0: all
	Attributes map[string]any // of the type
}

// stall stops reading: the sender's buffers fill up, nothing is lost, and all of it arrives when it is over.
type stall struct{}

func (*stall) Pipe(stub *toxics.ToxicStub) { <-stub.Interrupt }

// registerOnce guards Toxiproxy's list of toxics, which is global.
var registerOnce sync.Once //nolint:gochecknoglobals // see above

func newLinks(ports *launch.Ports) *Links {
	registerOnce.Do(func() { toxics.Register("stall", new(stall)) })
	return &Links{
		server:  toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()),
		ports:   ports,
		proxies: map[string]*toxiproxy.Proxy{},
	}
}

// add makes the link and returns the address that from dials.
func (l *Links) add(from, to, upstream string) (string, error) {
	listen, err := l.ports.Take()
	if err != nil {
		return "", err
	}
	proxy := toxiproxy.NewProxy(l.server, from+">"+to, listen, upstream)
	if err := proxy.Start(); err != nil {
		return "", fmt.Errorf("start the proxy %s>%s: %w", from, to, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proxies[from+">"+to] = proxy
	return listen, nil
}

// Matching lists the links whose names match a pattern of path.Match, such as "gateway-0>nats-*".
func (l *Links) Matching(pattern string) (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.proxies {
		if ok, _ := path.Match(pattern, name); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// healTimeout bounds the removal of a toxic. Where Toxiproxy does not finish it in time, the proxy is started again.
const healTimeout = 3 * time.Second

// Disturb puts toxics on all links that match, and returns how to take them away.
func (l *Links) Disturb(pattern string, list ...Toxic) (heal func(), err error) {
	names := l.Matching(pattern)
	if len(names) == 0 {
		return nil, fmt.Errorf("no link matches %q", pattern)
	}
	var undo []func()
	heal = func() {
		var all sync.WaitGroup
		for _, u := range undo {
			all.Go(u)
		}
		all.Wait()
	}
	for _, name := range names {
		for i, toxic := range list {
			remove, err := l.put(name, fmt.Sprintf("%s-%d", toxic.Type, i), toxic)
			if err != nil {
				heal()
				return nil, err
			}
			undo = append(undo, remove)
		}
	}
	return heal, nil
}

func (l *Links) put(link, name string, toxic Toxic) (remove func(), err error) {
	l.mu.Lock()
	proxy := l.proxies[link]
	l.mu.Unlock()
	direction, share := "downstream", toxic.Share
	if toxic.Upstream {
		direction = "upstream"
	}
	if share == 0 {
		share = 1
	}
	name += "-" + direction
	spec, err := json.Marshal(map[string]any{
		"name": name, "type": toxic.Type, "stream": direction, "toxicity": share, "attributes": toxic.Attributes,
	})
	if err != nil {
		return nil, fmt.Errorf("describe a toxic: %w", err)
	}
	if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(string(spec))); err != nil {
		return nil, fmt.Errorf("disturb %s: %w", link, err)
	}
	return func() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = proxy.Toxics.RemoveToxic(context.Background(), name) //nolint:forbidigo // only carries a logger
		}()
		select {
		case <-done:
		case <-time.After(healTimeout):
			l.replace(link)
		}
	}, nil
}

// replace gives a link whose proxy hangs a new one at the same address; its connections end.
func (l *Links) replace(link string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.proxies[link]
	old.Stop()
	proxy := toxiproxy.NewProxy(l.server, link, old.Listen, old.Upstream)
	if err := proxy.Start(); err == nil {
		l.proxies[link] = proxy
	}
}

// stop ends all proxies; one that hangs is left behind.
func (l *Links) stop(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var all sync.WaitGroup
		for _, p := range l.proxies {
			all.Go(p.Stop)
		}
		all.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("some proxies do not stop")
	}
}

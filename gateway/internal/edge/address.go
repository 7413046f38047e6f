package edge

import (
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// addresses tells who a request comes from, and what the limits of an address count it for. It is the only place that knows which
// addresses have no limits: loopback, which is this machine, and what the operator names.
type addresses struct {
	trusted []netip.Prefix // the proxies whose X-Forwarded-For is believed
	exempt  []netip.Prefix
	log     *slog.Logger

	unreadable, ignored sync.Once // what is wrong with a proxy is logged once, not with each request
}

func contains(networks []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// peerOf is the address in "address:port"; the zero Addr when there is none.
func peerOf(hostport string) netip.Addr {
	peer, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return netip.Addr{}
	}
	return plain(peer.Addr())
}

func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// client is the address of the client: that of the connection or, behind trusted proxies, the last one in X-Forwarded-For that is no
// trusted proxy itself. It is the zero Addr when a trusted proxy names one that cannot be read: all of those share one limit.
func (a *addresses) client(r *http.Request) netip.Addr {
	addr := peerOf(r.RemoteAddr)
	lines := r.Header.Values("X-Forwarded-For")
	if !contains(a.trusted, addr) {
		if len(lines) > 0 {
			a.ignored.Do(func() {
				a.log.WarnContext(r.Context(), "X-Forwarded-For is ignored, because it comes from an address that is not in TRUSTED_PROXIES: if that is a proxy, all its clients share the limits of one address",
					slog.String("address", addr.String()))
			})
		}
		return addr
	}
	for _, line := range slices.Backward(lines) {
		for _, hop := range slices.Backward(strings.Split(line, ",")) {
			hop = strings.Trim(hop, " \t")
			if hop == "" { // an element of a list that may be left out
				continue
			}
			forwarded, ok := parseHop(hop)
			if !ok {
				a.unreadable.Do(func() {
					a.log.WarnContext(r.Context(), "X-Forwarded-For of a trusted proxy has an address that cannot be read; clients with such addresses share one limit",
						slog.String("proxy", addr.String()), slog.String("value", hop[:min(len(hop), 64)]))
				})
				return netip.Addr{}
			}
			if addr = forwarded; !contains(a.trusted, addr) {
				return addr
			}
		}
	}
	return addr
}

// parseHop reads an address as proxies write it: bare, with a port, or in brackets.
func parseHop(s string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return plain(addr), true
	}
	if addr := peerOf(s); addr.IsValid() {
		return addr, true
	}
	inner, bracketed := strings.CutPrefix(s, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if addr, err := netip.ParseAddr(inner); err == nil && bracketed && closed && addr.Is6() {
		return plain(addr), true
	}
	return netip.Addr{}, false
}

// limitKey is what the limits of an address count: an IPv4 address, or the /64 that one IPv6 site has. limited is false for those
// without limits. Addresses that cannot be told have one key together.
func (a *addresses) limitKey(addr netip.Addr) (key netip.Addr, limited bool) {
	if addr.IsLoopback() || contains(a.exempt, addr) {
		return addr, false
	}
	if addr.Is6() {
		if site, err := addr.Prefix(64); err == nil {
			addr = site.Addr()
		}
	}
	return addr, true
}

// connKey is limitKey for the peer of a connection: that of a trusted proxy carries the requests of many.
func (a *addresses) connKey(peer netip.Addr) (key netip.Addr, limited bool) {
	if contains(a.trusted, peer) {
		return peer, false
	}
	return a.limitKey(peer)
}

// clientIP is the address of the client, the zero Addr when it cannot be told.
func (e *Edge) clientIP(r *http.Request) netip.Addr { return e.addresses.client(r) }

func (e *Edge) trusted(addr netip.Addr) bool { return contains(e.cfg.TrustedProxies, addr) }

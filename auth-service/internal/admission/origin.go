package admission

import (
	"net/netip"
	"slices"
)

// Origin is where a request comes from.
type Origin struct {
	// Place is an IPv4 address, or the /64 that one IPv6 site has; "" when unknown.
	Place string
	// limited is the key of limits per address: the place, "" where the address has none.
	limited string
}

// unreadable is the place of all addresses that are none.
const unreadable = "unreadable"

// From gives the form in which an address is counted. Loopback is the operator, or a proxy that does not tell whose requests it
// passes on, with everybody behind it.
func (a *Attempts) From(address string) Origin {
	if address == "" {
		return Origin{}
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return Origin{Place: unreadable, limited: unreadable}
	}
	ip = ip.Unmap().WithZone("")
	o := Origin{Place: ip.String()}
	if ip.Is6() && !ip.IsLoopback() {
		prefix, _ := ip.Prefix(64)
		o.Place = prefix.String()
	}
	exempt := ip.IsLoopback() || slices.ContainsFunc(a.exempt, func(p netip.Prefix) bool { return p.Contains(ip) })
	if !exempt {
		o.limited = o.Place
	}
	return o
}

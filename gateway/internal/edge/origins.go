package edge

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Origins decide whose pages may use this gateway: those of the origins that the operator lists, and those of the gateway's own.
type Origins struct {
	everyone bool
	exact    []origin
	below    []origin // their hosts begin with a dot: every host that ends so
	proxies  []netip.Prefix
}

// origin is what a page's origin is compared by: scheme and host in small letters, and the port, also where it is the scheme's own.
// A page without an origin of its own ("null") has an empty scheme.
type origin struct{ scheme, host, port string }

// nullOrigin is what browsers send for pages in sandboxed frames, from files and from data URLs.
const nullOrigin = "null"

// EveryOrigin lets every page in.
func EveryOrigin() Origins { return Origins{everyone: true} }

// ParseOrigins reads the operator's list: origins, "https://*.example.com" for all hosts below a domain, "null", or "*" for all. An
// entry that no page can have is an error. proxies are the networks whose X-Forwarded-Host and X-Forwarded-Port are believed.
func ParseOrigins(list []string, proxies []netip.Prefix) (Origins, error) {
	o := Origins{proxies: proxies}
	for _, entry := range list {
		entry = strings.TrimSpace(entry)
		switch {
		case entry == "": // between two commas
		case entry == "*":
			o.everyone = true
		case strings.EqualFold(entry, nullOrigin):
			o.exact = append(o.exact, origin{host: nullOrigin})
		default:
			allowed, err := parseEntry(entry)
			if err != nil {
				return Origins{}, fmt.Errorf("%q is not an origin such as https://chat.example.org: %w", entry, err)
			}
			if host, ok := strings.CutPrefix(allowed.host, "*"); ok {
				allowed.host = host
				o.below = append(o.below, allowed)
			} else {
				o.exact = append(o.exact, allowed)
			}
		}
	}
	return o, nil
}

// parseEntry reads one entry of the operator's list, and refuses what no browser sends.
func parseEntry(entry string) (origin, error) {
	bare := entry
	if !strings.HasSuffix(entry, "://") {
		bare = strings.TrimSuffix(entry, "/")
	}
	o, ok := parseOrigin(bare)
	u, err := url.Parse(entry)
	domain, wild := strings.CutPrefix(o.host, "*.")
	switch {
	case !strings.Contains(entry, "://"):
		return o, errors.New("its scheme is missing, such as https://")
	case err != nil:
		return o, errors.New("it cannot be read")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return o, errors.New("it ends with the host or its port, without path, query or user")
	case o.scheme == "ws" || o.scheme == "wss":
		return o, errors.New("a page's own scheme is meant, http or https")
	case strings.ContainsFunc(o.host, func(r rune) bool { return r >= 0x80 }):
		return o, errors.New("write the host as browsers send it (xn--…)")
	case !ok || o.host == "" && o.scheme != "file" || strings.ContainsAny(o.host, "%\"<>^`{|}' ,;!$&()=+~"):
		return o, errors.New("host or port are wrong")
	case strings.Contains(domain, "*") || wild && strings.Trim(domain, ".") == "":
		return o, errors.New("a * stands for the names before a domain, as in https://*.example.com")
	}
	return o, nil
}

// parseOrigin reads the value of an Origin header.
func parseOrigin(s string) (o origin, ok bool) {
	if s == nullOrigin {
		return origin{host: nullOrigin}, true
	}
	scheme, rest, found := strings.Cut(s, "://")
	if !found || scheme == "" || strings.ContainsAny(rest, `/\?#@`) {
		return origin{}, false
	}
	o.scheme = strings.ToLower(scheme)
	o.host, o.port, ok = hostPort(rest, o.scheme)
	return o, ok
}

// hostPort takes a host with or without port apart. A port that is not there is that of the scheme.
func hostPort(s, scheme string) (host, port string, ok bool) {
	host = strings.ToLower(s)
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host, port = host[:i], host[i+1:]
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", "", false
		}
	}
	if inner, found := strings.CutPrefix(host, "["); found {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !strings.HasSuffix(inner, "]") {
			return "", "", false
		}
		host = "[" + addr.String() + "]" // one address can be written in several ways
	} else if strings.Contains(host, ":") {
		return "", "", false
	}
	if port == "" {
		port = schemePort(scheme)
	}
	return host, port, true
}

// schemePort is the port that browsers leave out.
func schemePort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}

// Allow tells whether the page behind a request may use this gateway. Without an Origin the client is no browser page.
func (o Origins) Allow(r *http.Request) bool {
	if o.everyone {
		return true
	}
	for _, value := range r.Header.Values("Origin") {
		if value == "" {
			continue
		}
		page, ok := parseOrigin(value)
		if !ok || !o.lists(page) && !o.own(page, r) {
			return false
		}
	}
	return true
}

// lists tells whether the operator's list has the origin.
func (o Origins) lists(page origin) bool {
	return slices.Contains(o.exact, page) || slices.ContainsFunc(o.below, func(b origin) bool {
		return b.scheme == page.scheme && b.port == page.port && len(page.host) > len(b.host) && strings.HasSuffix(page.host, b.host)
	})
}

// own tells whether the page comes from where the request goes to, by its Host or, behind a trusted proxy, by what the proxy says
// that it was.
func (o Origins) own(page origin, r *http.Request) bool {
	if page.scheme != "http" && page.scheme != "https" || page.host == "" {
		return false
	}
	is := func(asked string) bool {
		host, port, ok := hostPort(asked, page.scheme)
		return ok && host == page.host && port == page.port
	}
	if is(r.Host) {
		return true
	}
	if !o.behindProxy(r) {
		return false
	}
	hosts := append(forwarded(r, "X-Forwarded-Host"), r.Host)
	ports := forwarded(r, "X-Forwarded-Port")
	return slices.ContainsFunc(hosts, func(host string) bool {
		return is(host) || slices.ContainsFunc(ports, func(port string) bool { return is(host + ":" + port) })
	})
}

// behindProxy tells whether a request comes from a proxy that the operator trusts.
func (o Origins) behindProxy(r *http.Request) bool {
	return contains(o.proxies, peerOf(r.RemoteAddr))
}

// forwarded returns the values of a header that each proxy in a row may have added to.
func forwarded(r *http.Request, name string) []string {
	var all []string
	for _, line := range r.Header.Values(name) {
		for value := range strings.SplitSeq(line, ",") {
			if value = strings.TrimSpace(value); value != "" {
				all = append(all, value)
			}
		}
	}
	return all
}

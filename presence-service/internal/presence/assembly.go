package presence

import "errors"

// Bounds of a snapshot's pages.
const (
	maxPages    = 10_000
	maxPageSize = 10_000 // gateways send 2,000
)

var errPage = errors.New("snapshot page out of bounds")

// Page is one part of a snapshot: Number of Pages, from 0.
type Page struct {
	Snapshot
	Number, Pages uint32
}

// Assembly puts the pages of one snapshot together, in whatever order they arrive. Where two incarnations answer, the
// newer one counts; where one answers twice, the newer version.
type Assembly struct {
	gateway GatewayID
	whole   Snapshot
	have    []bool
	missing int
}

// NewAssembly expects the pages of a gateway.
func NewAssembly(gateway GatewayID) *Assembly { return &Assembly{gateway: gateway} }

// Add takes in a page. done is true when the snapshot is whole.
func (a *Assembly) Add(p Page) (s Snapshot, done bool, err error) {
	if p.Gateway != a.gateway || p.Pages == 0 || p.Pages > maxPages || p.Number >= p.Pages || len(p.Sockets) > maxPageSize {
		return Snapshot{}, false, errPage
	}
	newer := a.have == nil || p.Incarnation > a.whole.Incarnation ||
		p.Incarnation == a.whole.Incarnation && p.Version > a.whole.Version
	if newer {
		a.whole = Snapshot{Gateway: p.Gateway, Incarnation: p.Incarnation, Version: p.Version}
		a.have, a.missing = make([]bool, p.Pages), int(p.Pages)
	}
	switch {
	case p.Incarnation != a.whole.Incarnation || p.Version != a.whole.Version: // older
		return Snapshot{}, false, nil
	case int(p.Pages) != len(a.have):
		return Snapshot{}, false, errPage
	case a.have[p.Number]:
		return Snapshot{}, false, nil
	}
	a.have[p.Number] = true
	a.missing--
	a.whole.Sockets = append(a.whole.Sockets, p.Sockets...)
	return a.whole, a.missing == 0, nil
}

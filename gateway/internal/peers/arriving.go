package peers

import (
	"sync/atomic"
	"time"

	enginev1 "github.com/starling-chat/starling/proto/gen/starling/engine/v1"
)

// arrivingInterval is the time between two words to a session's gateway of a body that takes long.
const arrivingInterval = 500 * time.Millisecond

// Arriving has a session's gateway know that the body of a POST for one of its sessions is coming in here, as long as it is; done is
// called when that ends. Most bodies are there before the first word of them.
func (p *Peers) Arriving(gateway, sid string) (done func()) {
	var ended atomic.Bool
	var tell func()
	tell = func() {
		if ended.Load() {
			return
		}
		p.send(gateway, &enginev1.EngineMessage{Kind: &enginev1.EngineMessage_Arriving{Arriving: &enginev1.Arriving{Sid: sid}}})
		time.AfterFunc(arrivingInterval, tell)
	}
	first := time.AfterFunc(arrivingInterval, tell)
	return func() {
		ended.Store(true)
		first.Stop()
	}
}

// arrives notes what another gateway tells of a client.
func (p *Peers) arrives(a *enginev1.Arriving) {
	if a.GetSid() != "" {
		p.sessions.ArrivesElsewhere(a.GetSid())
	}
	if t := p.tunnel(a.GetTunnel()); t != nil {
		t.setArriving()
	}
}

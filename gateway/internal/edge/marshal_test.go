package edge

import (
	"strings"
	"testing"

	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
)

// TestEmitWithoutTarget keeps an empty list of targets, or a misspelt one, from becoming everyone.
func TestEmitWithoutTarget(t *testing.T) {
	for body, want := range map[string]bool{
		`{"event":"e"}`:                       true,
		`{"event":"e","data":null}`:           true,
		`{"event":"e","args":[1],"ack":{}}`:   true,
		`{"event":"e","except":{"users":[]}}`: true,
		`{"event":"e","all":true}`:            true,
		`{"event":"e","all":false}`:           false,
		`{"event":"e","rooms":[]}`:            false,
		`{"event":"e","users":["u"]}`:         false,
		`{"event":"e","room_id":"r"}`:         false,
		`{"event":"e","room":"r"}`:            false,
	} {
		var r clusterv1.EmitRequest
		if err := newMarshaler().NewDecoder(strings.NewReader(body)).Decode(&r); err != nil || r.GetAll() != want {
			t.Errorf("Decode(%s) = all %v, %v, want %v", body, r.GetAll(), err, want)
		}
	}
	for _, body := range []string{``, `{`, `{"event":7}`} {
		var r clusterv1.EmitRequest
		if err := newMarshaler().NewDecoder(strings.NewReader(body)).Decode(&r); err == nil {
			t.Errorf("Decode(%s) = %v, want an error", body, &r)
		}
	}
}

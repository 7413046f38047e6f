package services

import (
	"strings"
	"testing"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// TestMergedReplies: what several attempts say about one event, whatever order they come in.
func TestMergedReplies(t *testing.T) {
	reply := func(codes ...string) *eventv1.ClientReply {
		all := make([]*eventv1.ClientReply, len(codes))
		for i, code := range codes {
			all[i] = &eventv1.ClientReply{AckArgs: []byte(code)}
			if code != "ok" {
				all[i] = &eventv1.ClientReply{Fault: &eventv1.Fault{Code: code}}
			}
		}
		all[0].More = all[1:]
		return all[0]
	}
	whole := &eventv1.ClientReply{Fault: &eventv1.Fault{Code: "unavailable"}}
	for _, tc := range []struct {
		a, b        *eventv1.ClientReply
		want        string
		final       bool
		notExecuted bool // by b
	}{
		{reply("ok", "unavailable"), reply("unavailable", "unavailable"), "ok unavailable", false, true},
		{reply("ok", "unavailable"), reply("unavailable", "ok"), "ok ok", true, false},
		{reply("timeout", "unavailable"), whole, "timeout unavailable", false, true},
		{whole, reply("timeout", "forbidden"), "timeout forbidden", false, false},
		{reply("unavailable", "unavailable"), reply("unavailable", "ok"), "unavailable ok", false, false},
		{whole, whole, "unavailable unavailable", false, true},
	} {
		for _, pair := range [][2]*eventv1.ClientReply{{tc.a, tc.b}, {tc.b, tc.a}} {
			got := Merge(Merge(nil, pair[0], 2), pair[1], 2)
			codes := make([]string, 2)
			for i := range codes {
				if codes[i] = ReplyAt(got, i).GetFault().GetCode(); codes[i] == "" {
					codes[i] = string(ReplyAt(got, i).GetAckArgs())
				}
			}
			if s := strings.Join(codes, " "); s != tc.want || IsFinal(got) != tc.final {
				t.Errorf("%v and %v together: %s, final %v, want %s, %v", pair[0], pair[1], s, IsFinal(got), tc.want, tc.final)
			}
		}
		if got := NotExecuted(tc.b, 2); got != tc.notExecuted {
			t.Errorf("NotExecuted(%v) = %v, want %v", tc.b, got, tc.notExecuted)
		}
	}
}

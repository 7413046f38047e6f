package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/starling-chat/starling/gateway/internal/session/sessiontest"
	"github.com/starling-chat/starling/platform/bus/bustest"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
)

func TestEmit(t *testing.T) {
	gs := startGateways(t, 3)
	ann, bob := gs[0].connect(t, "ann", "/"), gs[1].connect(t, "bob", "/")
	bobChat, cid := gs[2].connect(t, "bob", "/chat"), gs[2].connect(t, "cid", "/")
	all := []*member{ann, bob, bobChat, cid}
	for _, m := range []*member{ann, bob, bobChat} {
		m.join(t, "r.*")
	}
	bob.join(t, "s")
	for name, tc := range map[string]struct {
		r    *clusterv1.EmitRequest
		want []*member
	}{
		"a room":              {&clusterv1.EmitRequest{Rooms: []string{"r.*"}}, []*member{ann, bob}},
		"a room, short":       {&clusterv1.EmitRequest{RoomId: "s"}, []*member{bob}},
		"a room of /chat":     {&clusterv1.EmitRequest{Rooms: []string{"r.*"}, Namespace: "/chat"}, []*member{bobChat}},
		"two rooms, once":     {&clusterv1.EmitRequest{Rooms: []string{"r.*", "s"}, Users: []string{"bob"}}, []*member{ann, bob}},
		"a user":              {&clusterv1.EmitRequest{UserId: "bob"}, []*member{bob}},
		"a socket":            {&clusterv1.EmitRequest{Sockets: []string{cid.id}}, []*member{cid}},
		"everyone":            {&clusterv1.EmitRequest{All: true}, []*member{ann, bob, cid}},
		"except a room":       {&clusterv1.EmitRequest{All: true, Except: &clusterv1.Except{Rooms: []string{"r.*"}}}, []*member{cid}},
		"except user, socket": {&clusterv1.EmitRequest{All: true, Except: &clusterv1.Except{Users: []string{"bob"}, Sockets: []string{ann.id}}}, []*member{cid}},
		"nobody there":        {&clusterv1.EmitRequest{Users: []string{"zoe"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, m := range all {
				m.Forget()
			}
			tc.r.Args = values(t, "x", 1.5, nil, map[string]any{"a": []any{true}})
			res := emit(t, gs[1], tc.r)
			if int(res.GetSockets()) != len(tc.want) || res.GetPartial() {
				t.Errorf("Emit = %v, want %d sockets", res, len(tc.want))
			}
			for _, m := range tc.want {
				m.WaitFor(t, "4")
			}
			for i, m := range all {
				var want []string
				if slices.Contains(tc.want, m) {
					want = []string{`42["e","x",1.5,null,{"a":[true]}]`}
				}
				if diff := cmp.Diff(want, m.got()); diff != "" {
					t.Errorf("client %d got (-want +got):\n%s", i, diff)
				}
			}
		})
	}
	ann.Forget()
	emit(t, gs[2], &clusterv1.EmitRequest{UserId: "ann", Data: placeholder(t, 0), Attachments: [][]byte{{1, 2}}})
	ann.WaitFor(t, "b")
	if diff := cmp.Diff([]string{`451-["e",{"_placeholder":true,"num":0}]`, "b\x01\x02"}, ann.got()); diff != "" {
		t.Errorf("binary event (-want +got):\n%s", diff)
	}
}

// TestEmitAsText: arguments that come as JSON text, and acks, keep every digit.
func TestEmitAsText(t *testing.T) {
	gs := startGateways(t, 2)
	ann := gs[0].connect(t, "ann", "/")
	const text = `[9007199254740993,-0,1e400,"\ud83d",{"b":1.0,"a":[]}]`
	done := emitLater(t, gs[1], &clusterv1.EmitRequest{UserId: "ann", Event: "ask", ArgsJson: []byte(text), Ack: &clusterv1.AckWish{ArgsJson: true}})
	id := ann.asked(t, "ask")
	if got, want := ann.got(), []string{"42" + id + `["ask",` + text[1:]}; !slices.Equal(got, want) {
		t.Errorf("the client got %q, want %q", got, want)
	}
	ann.Say("43" + id + text)
	got := <-done
	if got.err != nil || len(got.res.GetReplies()) != 1 || string(got.res.GetReplies()[0].GetArgsJson()) != text || got.res.GetReplies()[0].GetArgs() != nil {
		t.Errorf("Emit = %v, %v, want the reply as it was written", got.res, got.err)
	}
	ann.Forget()
	emit(t, gs[1], &clusterv1.EmitRequest{UserId: "ann", DataJson: []byte(`{"n":18446744073709551617}`), Data: structpb.NewNullValue()})
	emit(t, gs[1], &clusterv1.EmitRequest{UserId: "ann", ArgsJson: []byte(`[{"_placeholder":true,"num":0.0}]`), Attachments: [][]byte{{9}}})
	sessiontest.Eventually(t, func() bool { return len(ann.got()) == 3 }, func() string { return fmt.Sprintf("the client got %q", ann.got()) })
	if diff := cmp.Diff([]string{`42["e",{"n":18446744073709551617}]`, `451-["e",{"_placeholder":true,"num":0.0}]`, "b\x09"}, ann.got()); diff != "" {
		t.Errorf("emits as text (-want +got):\n%s", diff)
	}
	for text, want := range map[string]string{
		`{}`: "args must be a JSON array", `[`: "args must be a JSON array", `[] []`: "args must be a JSON array", "[\"\xff\"]": "args must be a JSON array",
		strings.Repeat("[", 33) + strings.Repeat("]", 33): "args are nested too deeply",
		`["` + strings.Repeat("x", maxEmitBytes) + `"]`:   "args with attachments must not exceed 524288 bytes",
	} {
		_, err := gs[0].api.Emit(withScopes(t, caller.ScopeEmit), &clusterv1.EmitRequest{All: true, Event: "e", ArgsJson: []byte(text)})
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Message != want {
			t.Errorf("Emit of %.40s = %v, want %q", text, err, want)
		}
	}
}

// TestShortTargets: roomId and userId name a target in every request that has one.
func TestShortTargets(t *testing.T) {
	gs := startGateways(t, 2)
	ann, bob := gs[0].connect(t, "ann", "/"), gs[1].connect(t, "bob", "/")
	ann.join(t, "r")
	ctx := withScopes(t, caller.ScopeSockets)
	found, err := gs[1].api.FetchSockets(ctx, &clusterv1.FetchSocketsRequest{RoomId: "r", UserId: "bob", Except: &clusterv1.Except{UserId: "bob"}})
	if err != nil || len(found.GetSockets()) != 1 || found.GetSockets()[0].GetSocketId() != ann.id {
		t.Errorf("FetchSockets = %v, %v, want ann's", found, err)
	}
	joined, err := gs[1].api.JoinRooms(ctx, &clusterv1.JoinRoomsRequest{UserId: "bob", Namespace: "/", JoinRooms: []string{"r"}})
	if err != nil || joined.GetJoined() != 1 {
		t.Errorf("JoinRooms = %v, %v, want bob in it", joined, err)
	}
	if res := emit(t, gs[1], &clusterv1.EmitRequest{All: true, Except: &clusterv1.Except{RoomId: "r"}}); res.GetSockets() != 0 {
		t.Errorf("Emit except the room = %v, want nobody", res)
	}
	left, err := gs[0].api.LeaveRooms(ctx, &clusterv1.LeaveRoomsRequest{RoomId: "r", Namespace: "/", LeaveRooms: []string{"r"}, Except: &clusterv1.Except{UserId: "ann"}})
	if err != nil || left.GetLeft() != 1 {
		t.Errorf("LeaveRooms = %v, %v, want bob out of it", left, err)
	}
	closed, err := gs[1].api.DisconnectSockets(ctx, &clusterv1.DisconnectSocketsRequest{RoomId: "r"})
	if err != nil || closed.GetClosed() != 1 {
		t.Errorf("DisconnectSockets = %v, %v, want ann's", closed, err)
	}
	ann.WaitEnded(t)
	if _, err := gs[1].api.DisconnectSockets(ctx, &clusterv1.DisconnectSocketsRequest{All: true, UserId: "bob"}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("DisconnectSockets of all and a user = %v, want it refused", err)
	}
	if _, _, ended := bob.Ended(); ended {
		t.Error("bob was disconnected")
	}
}

func placeholder(t *testing.T, n int) *structpb.Value {
	t.Helper()
	v, err := structpb.NewValue(map[string]any{"_placeholder": true, "num": n})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

type emitted struct {
	res *clusterv1.EmitResponse
	err error
}

func emitLater(t *testing.T, g *gateway, r *clusterv1.EmitRequest) <-chan emitted {
	t.Helper()
	ctx := withScopes(t, caller.ScopeEmit)
	done := make(chan emitted, 1)
	go func() {
		res, err := g.api.Emit(ctx, r)
		done <- emitted{res, err}
	}()
	return done
}

func TestAcks(t *testing.T) {
	gs := startGateways(t, 2)
	ann, bob := gs[0].connect(t, "ann", "/"), gs[1].connect(t, "bob", "/")
	start := time.Now()
	done := emitLater(t, gs[0], &clusterv1.EmitRequest{All: true, Event: "ask", Ack: &clusterv1.AckWish{TimeoutMs: longestAckWait}})
	id := ann.asked(t, "ask")
	ann.Say("43"+id+`["one",{"n":[1,null]}]`, "43"+id+`["again"]`, "43999[]") // the second ack and the unknown one are ignored
	bob.Say("461-" + bob.asked(t, "ask") + `[{"_placeholder":true,"num":0}]`)
	bob.SayBinary([]byte{7, 8})
	got := <-done
	if got.err != nil || time.Since(start) >= longestAckWait*time.Millisecond {
		t.Fatalf("Emit = %v after %v, want it when all acks are there", got.err, time.Since(start))
	}
	replies := map[string]*clusterv1.AckReply{}
	for _, r := range got.res.GetReplies() {
		replies[r.GetUserId()] = r
	}
	if len(replies) != 2 || got.res.GetExpected() != 2 || got.res.GetMissing() != 0 || got.res.GetPartial() {
		t.Fatalf("Emit = %v, want two replies", got.res)
	}
	if diff := cmp.Diff([]any{"one", map[string]any{"n": []any{1.0, nil}}}, replies["ann"].GetArgs().AsSlice()); diff != "" || replies["ann"].GetSocketId() != ann.id {
		t.Errorf("ann's ack (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([][]byte{{7, 8}}, replies["bob"].GetAttachments()); diff != "" {
		t.Errorf("bob's attachments (-want +got):\n%s", diff)
	}
}

func TestAcksMissing(t *testing.T) {
	gs := startGateways(t, 2)
	ann, bob := gs[0].connect(t, "ann", "/"), gs[1].connect(t, "bob", "/")
	withinMs(t, 300, func(ms uint32) bool { // until ann's ack comes in time
		ann.Forget()
		start := time.Now()
		done := emitLater(t, gs[1], &clusterv1.EmitRequest{All: true, Event: "ask", Ack: &clusterv1.AckWish{TimeoutMs: ms}})
		ann.Say("43" + ann.asked(t, "ask") + `[1]`)
		got := <-done
		if wait := time.Duration(ms) * time.Millisecond; got.err != nil || time.Since(start) < wait {
			t.Fatalf("Emit = %v after %v, want an answer after %v", got.err, time.Since(start), wait)
		}
		r := got.res
		if len(r.GetReplies()) == 1 && (r.GetExpected() != 2 || r.GetMissing() != 1 || !r.GetPartial() || r.GetMissingGateways() != 0) {
			t.Errorf("Emit = %v, want one reply of two", r)
		}
		return len(r.GetReplies()) == 1
	})
	bob.Say("43" + bob.asked(t, "ask") + `["late"]`) // ignored
	if res := emit(t, gs[0], &clusterv1.EmitRequest{All: true}); res.GetSockets() != 2 {
		t.Errorf("Emit afterwards = %v, want 2 sockets", res)
	}
	large := strings.Repeat("x", 70_000)
	done := emitLater(t, gs[1], &clusterv1.EmitRequest{UserId: "ann", Event: "large", Ack: &clusterv1.AckWish{TimeoutMs: longestAckWait}})
	ann.Say("43" + ann.asked(t, "large") + `["` + large + `"]`)
	if got := <-done; got.err != nil || got.res.GetMissing() != 0 || !got.res.GetTruncated() || !got.res.GetReplies()[0].GetTruncated() {
		t.Errorf("Emit with a large ack = %v, %v, want it truncated", got.res, got.err)
	}
}

// longestAckWait is what an emit may wait for acks, in milliseconds.
const longestAckWait = 30_000

// withinMs tries something with a wait that is long enough on most machines, and with longer ones on slower machines.
func withinMs(t *testing.T, ms uint32, try func(ms uint32) bool) {
	t.Helper()
	for ; !try(ms); ms *= 4 {
		if 4*ms > longestAckWait {
			t.Fatalf("not within %d ms", ms)
		}
	}
}

func TestFetchAndDisconnect(t *testing.T) {
	gs := startGateways(t, 3)
	var want []string
	members := map[string]*member{}
	for i := range 9 {
		m := gs[i%3].connect(t, fmt.Sprintf("user%d", i), "/")
		members[m.id] = m
		want = append(want, m.id)
	}
	slices.Sort(want)
	var got []string
	for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
		res, err := gs[0].api.FetchSockets(withScopes(t, caller.ScopeSockets), &clusterv1.FetchSocketsRequest{All: true, Limit: 2, Cursor: cursor})
		if err != nil || res.GetPartial() || len(res.GetSockets()) > 2 || pages > 9 {
			t.Fatalf("FetchSockets(%q) = %v, %v", cursor, res, err)
		}
		for _, s := range res.GetSockets() {
			got = append(got, s.GetSocketId())
		}
		cursor = res.GetNextCursor()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("FetchSockets by pages (-want +got):\n%s", diff)
	}

	ann, chat := gs[1].connect(t, "ann", "/"), gs[2].connect(t, "ann", "/chat")
	ann.join(t, "b")
	ann.join(t, "a")
	res := fetchUser(t, gs[0], "ann", "/")
	if len(res.GetSockets()) != 1 {
		t.Fatalf("ListUserSockets = %v, want one", res)
	}
	s := res.GetSockets()[0]
	if s.GetSocketId() != ann.id || s.GetGatewayId() != "gw1" || s.GetNamespace() != "/" || !slices.Equal(s.GetRooms(), []string{"a", "b"}) || time.Since(s.GetConnectedAt().AsTime()) > time.Minute {
		t.Errorf("ListUserSockets = %v", s)
	}
	gone, err := gs[0].api.DisconnectUserSockets(withScopes(t, caller.ScopeSockets), &clusterv1.UserSocketsRequest{UserId: "ann"})
	if err != nil || gone.GetClosed() != 2 || gone.GetPartial() {
		t.Errorf("DisconnectUserSockets = %v, %v, want 2", gone, err)
	}
	ann.WaitEnded(t)
	chat.WaitEnded(t)
	if !slices.Contains(ann.got(), "41") || len(fetchUser(t, gs[0], "ann", "").GetSockets()) != 0 {
		t.Errorf("after the disconnect: %q, %v", ann.got(), fetchUser(t, gs[0], "ann", ""))
	}
	if len(members[want[0]].Packets()) != 0 {
		t.Errorf("another user got %q", members[want[0]].Packets())
	}
}

func TestDisconnectOneNamespace(t *testing.T) {
	gs := startGateways(t, 2)
	ann := gs[0].connect(t, "ann", "/")
	ann.Say(`40/chat,{"token":"ann"}`)
	ann.WaitFor(t, "40/chat,")
	sessiontest.Eventually(t, func() bool { return len(fetchUser(t, gs[1], "ann", "").GetSockets()) == 2 }, func() string { return "no /chat" })
	ctx := withScopes(t, caller.ScopeSockets)
	if _, err := gs[1].api.DisconnectSockets(ctx, &clusterv1.DisconnectSocketsRequest{Users: []string{"ann"}, Namespace: "/chat"}); err != nil {
		t.Fatal(err)
	}
	ann.WaitFor(t, "41/chat,")
	if _, _, ended := ann.Ended(); ended || len(fetchUser(t, gs[1], "ann", "").GetSockets()) != 1 {
		t.Errorf("leaving /chat ended the session, or did nothing")
	}
	ann.Say(`40/notifications,{"token":"ann"}`)
	ann.WaitFor(t, "40/notifications,")
	sessiontest.Eventually(t, func() bool { return len(fetchUser(t, gs[1], "ann", "").GetSockets()) == 2 }, func() string { return "no /notifications" })
	res, err := gs[1].api.DisconnectSockets(ctx, &clusterv1.DisconnectSocketsRequest{Sockets: []string{ann.id}, Close: true})
	if err != nil || res.GetClosed() != 2 {
		t.Errorf("DisconnectSockets with close = %v, %v, want 2", res, err)
	}
	ann.WaitEnded(t)
}

func TestJoinAndLeave(t *testing.T) {
	gs := startGateways(t, 2)
	ann, bob, note := gs[0].connect(t, "ann", "/"), gs[1].connect(t, "bob", "/"), gs[1].connect(t, "bob", "/notifications")
	ctx := withScopes(t, caller.ScopeSockets)
	res, err := gs[0].api.JoinRooms(ctx, &clusterv1.JoinRoomsRequest{All: true, Namespace: "/", JoinRooms: []string{"r", "closed"}})
	if err != nil || res.GetSockets() != 2 || res.GetJoined() != 2 || res.GetFailed() != 2 || res.GetPartial() {
		t.Fatalf("JoinRooms = %v, %v, want 2 joined and 2 refused", res, err)
	}
	if f := res.GetFailures()[0]; f.GetCode() != "forbidden" || f.GetRoomId() != "closed" || !strings.HasSuffix(f.GetMessage(), "may not") {
		t.Errorf("failure = %v", f)
	}
	for _, m := range []*member{ann, bob} {
		if diff := cmp.Diff([]string{`42["room:history",[]]`}, m.got()); diff != "" {
			t.Errorf("joined client got (-want +got):\n%s", diff)
		}
		m.Forget()
	}
	if res := emit(t, gs[1], &clusterv1.EmitRequest{RoomId: "r"}); res.GetSockets() != 2 {
		t.Errorf("Emit to the room = %v, want 2 sockets", res)
	}
	refused, err := gs[0].api.JoinRooms(ctx, &clusterv1.JoinRoomsRequest{Sockets: []string{note.id}, JoinRooms: []string{"r"}})
	if err != nil || refused.GetFailed() != 1 || refused.GetFailures()[0].GetCode() != "invalid" {
		t.Errorf("JoinRooms on /notifications = %v, %v, want it refused", refused, err)
	}
	left, err := gs[0].api.LeaveRooms(ctx, &clusterv1.LeaveRoomsRequest{Users: []string{"bob"}, Namespace: "/", LeaveRooms: []string{"r", "never"}})
	if err != nil || left.GetSockets() != 1 || left.GetLeft() != 1 || left.GetPartial() {
		t.Errorf("LeaveRooms = %v, %v, want 1", left, err)
	}
	if res := emit(t, gs[1], &clusterv1.EmitRequest{RoomId: "r"}); res.GetSockets() != 1 {
		t.Errorf("Emit to the room = %v, want 1 socket", res)
	}
	bob.join(t, "r") // the member comes back by itself
	if res := emit(t, gs[1], &clusterv1.EmitRequest{RoomId: "r"}); res.GetSockets() != 2 {
		t.Errorf("Emit to the room = %v, want 2 sockets", res)
	}
}

// TestGatewayDiesDuringAnEmit: the caller gets what came, and is told that something is missing.
func TestGatewayDiesDuringAnEmit(t *testing.T) {
	withinMs(t, 700, func(ms uint32) bool { // until the acks of those who live come in time
		gs := startGateways(t, 3)
		ann := gs[0].connect(t, "ann", "/")
		gs[1].connect(t, "bob", "/")
		cid := gs[2].connect(t, "cid", "/")
		done := emitLater(t, gs[0], &clusterv1.EmitRequest{All: true, Event: "ask", Ack: &clusterv1.AckWish{TimeoutMs: ms}})
		cid.Say("43" + cid.asked(t, "ask") + `[1]`)
		ann.asked(t, "ask")
		gs[1].nc.Close() // as kill -9: it says nothing more
		ann.Say("43" + ann.asked(t, "ask") + `[2]`)
		got := <-done
		if got.err != nil || !got.res.GetPartial() || got.res.GetMissing() == 0 && got.res.GetMissingGateways() == 0 {
			t.Errorf("Emit = %v, %v, want it partial: one socket or its gateway is missing", got.res, got.err)
		}
		return len(got.res.GetReplies()) == 2
	})
}

// TestDeadGateway: it is waited for as long as its lease is valid, and no longer than Timeout.
func TestDeadGateway(t *testing.T) {
	gs := startGateways(t, 3)
	ann := gs[0].connect(t, "ann", "/")
	gs[1].connect(t, "bob", "/")
	gs[2].connect(t, "cid", "/")
	gs[1].nc.Close()
	gs[0].cluster.cfg.Timeout = deadTimeout
	var res *clusterv1.EmitResponse
	sessiontest.Eventually(t, func() bool {
		res = emit(t, gs[0], &clusterv1.EmitRequest{All: true})
		return res.GetPartial() && res.GetMissingGateways() == 1 && res.GetSockets() == 2
	}, func() string { return fmt.Sprintf("Emit = %v, want it partial without the dead gateway", res) })
	start := time.Now()
	var got emitted
	sessiontest.Eventually(t, func() bool {
		ann.Forget()
		start = time.Now()
		done := emitLater(t, gs[0], &clusterv1.EmitRequest{UserId: "ann", Event: "again", Ack: &clusterv1.AckWish{TimeoutMs: longestAckWait}})
		ann.Say("43" + ann.asked(t, "again") + `[3]`)
		got = <-done
		return got.err != nil || len(got.res.GetReplies()) == 1 && got.res.GetMissingGateways() == 1
	}, func() string { return fmt.Sprintf("Emit with ack and a dead gateway = %v", got.res) })
	if got.err != nil || time.Since(start) >= longestAckWait*time.Millisecond {
		t.Errorf("Emit with ack and a dead gateway = %v after %v, want no wait for acks beyond the dead gateway's time", got.err, time.Since(start))
	}
	gs[0].expire("gw1")
	gs[0].cluster.cfg.Timeout = sessiontest.Patience
	if res := fetchUser(t, gs[0], "bob", ""); res.GetPartial() {
		t.Errorf("ListUserSockets = %v when the dead gateway's lease has ended, want it complete", res)
	}
}

func TestGrowsAndShrinks(t *testing.T) {
	server := bustest.Server(t)
	one := startGateway(t, server, "one")
	one.connect(t, "ann", "/")
	two := startGateway(t, server, "two")
	two.wantKnown(t, 2) // by its hello
	if res := fetchUser(t, two, "ann", ""); len(res.GetSockets()) != 1 || res.GetPartial() {
		t.Errorf("ListUserSockets by a new gateway = %v, want ann's", res)
	}
	one.nc.Close()
	two.cluster.cfg.Timeout = deadTimeout
	if res := fetchUser(t, two, "ann", ""); !res.GetPartial() || res.GetMissingGateways() == 0 {
		t.Errorf("ListUserSockets = %v, want it partial", res)
	}
	two.cluster.cfg.Timeout = sessiontest.Patience
	again := startGateway(t, server, "one") // a restart with the same name
	again.wantKnown(t, 2)
	again.connect(t, "ann", "/")
	if res := fetchUser(t, two, "ann", ""); len(res.GetSockets()) != 1 || res.GetPartial() {
		t.Errorf("ListUserSockets after the restart = %v, want ann's", res)
	}
}

func TestRefusals(t *testing.T) {
	gs := startGateways(t, 1)
	ann := gs[0].connect(t, "ann", "/")
	long := strings.Repeat("x", 513)
	ok := func() *clusterv1.EmitRequest { return &clusterv1.EmitRequest{All: true, Event: "e"} }
	for name, tc := range map[string]struct {
		scopes []string
		change func(*clusterv1.EmitRequest)
		want   fault.Kind
	}{
		"no key":              {nil, nil, fault.Unauthenticated},
		"another scope":       {[]string{caller.ScopeSockets}, nil, fault.Forbidden},
		"no event":            {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Event = "" }, fault.Invalid},
		"reserved event":      {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Event = "disconnect" }, fault.Invalid},
		"no target":           {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.All = false }, fault.Invalid},
		"all and a room":      {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.RoomId = "r" }, fault.Invalid},
		"unknown namespace":   {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Namespace = "/x" }, fault.Invalid},
		"long id":             {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Except = &clusterv1.Except{Users: []string{long}} }, fault.Invalid},
		"many ids":            {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.All, r.Users = false, make([]string, 1001) }, fault.TooLarge},
		"large args":          {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Data = structpb.NewStringValue(strings.Repeat("x", 600_000)) }, fault.TooLarge},
		"data and args":       {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Data, r.Args = structpb.NewNullValue(), &structpb.ListValue{} }, fault.Invalid},
		"stray placeholder":   {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Data, r.Attachments = placeholder(t, 1), [][]byte{{1}} }, fault.Invalid},
		"many attachments":    {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Attachments = make([][]byte, 11) }, fault.TooLarge},
		"long wait for acks":  {[]string{caller.ScopeEmit}, func(r *clusterv1.EmitRequest) { r.Ack = &clusterv1.AckWish{TimeoutMs: 30_001} }, fault.Invalid},
		"nothing to complain": {[]string{caller.ScopeEmit}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := ok()
			if tc.change != nil {
				tc.change(r)
			}
			_, err := gs[0].api.Emit(withScopes(t, tc.scopes...), r)
			if got := fault.KindOf(err); got != tc.want {
				t.Errorf("Emit = %v, want %q", err, tc.want)
			}
		})
	}
	var waiting []<-chan emitted
	for range 3 {
		waiting = append(waiting, emitLater(t, gs[0], &clusterv1.EmitRequest{All: true, Event: "ask", Ack: &clusterv1.AckWish{TimeoutMs: longestAckWait}}))
	}
	sessiontest.Eventually(t, func() bool {
		return len(slices.DeleteFunc(ann.got(), func(p string) bool { return !strings.Contains(p, `["ask"`) })) == 3
	}, func() string { return "the calls do not run" })
	if _, err := gs[0].api.Emit(withScopes(t, caller.ScopeEmit), ok()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a fourth call at once = %v, want it refused", err)
	}
	for _, p := range ann.got() {
		if head, _, ok := strings.Cut(p, `["ask"`); ok {
			ann.Say("43" + strings.TrimPrefix(head, "42") + "[]")
		}
	}
	for _, w := range waiting {
		<-w
	}
}

package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	openapi "github.com/starling-chat/starling/proto"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
	presencev1 "github.com/starling-chat/starling/proto/gen/starling/presence/v1"
)

// conn answers calls that would go to another process; what it got is kept.
type conn struct {
	grpc.ClientConnInterface
	mu     sync.Mutex // guards got while calls are under way
	got    []proto.Message
	keys   []string // idempotency keys of the calls
	answer func(out proto.Message) error
}

func (c *conn) Invoke(ctx context.Context, _ string, in, out any, _ ...grpc.CallOption) error {
	if _, err := proto.Marshal(in.(proto.Message)); err != nil { // as gRPC does: it refuses texts that are not UTF-8
		return status.Errorf(codes.Internal, "grpc: error while marshaling: %v", err)
	}
	c.mu.Lock()
	c.got = append(c.got, proto.Clone(in.(proto.Message)))
	md, _ := metadata.FromOutgoingContext(ctx)
	c.keys = append(c.keys, caller.IdempotencyKey(metadata.NewIncomingContext(ctx, md)))
	c.mu.Unlock()
	if c.answer == nil {
		return nil
	}
	return c.answer(out.(proto.Message))
}

// cluster is the service in this process.
type cluster struct {
	clusterv1.UnimplementedClusterServiceServer
	got []proto.Message
}

func (c *cluster) Emit(_ context.Context, r *clusterv1.EmitRequest) (*clusterv1.EmitResponse, error) {
	c.got = append(c.got, proto.Clone(r))
	return &clusterv1.EmitResponse{Sockets: 1, Replies: []*clusterv1.AckReply{
		{SocketId: "s", ArgsJson: []byte(`[9007199254740993,1e400,"\ud83d"]`), Attachments: [][]byte{{0xff}}}, {SocketId: "t", Truncated: true},
	}}, nil
}

func (c *cluster) FetchSockets(_ context.Context, r *clusterv1.FetchSocketsRequest) (*clusterv1.FetchSocketsResponse, error) {
	c.got = append(c.got, proto.Clone(r))
	return &clusterv1.FetchSocketsResponse{}, nil
}

func (c *cluster) ListUserSockets(_ context.Context, r *clusterv1.UserSocketsRequest) (*clusterv1.FetchSocketsResponse, error) {
	c.got = append(c.got, proto.Clone(r))
	return nil, fault.New(fault.NotFound, "of a service")
}

func newHandler(t *testing.T) (*Handler, *conn, *cluster) {
	t.Helper()
	remote, local := &conn{}, &cluster{}
	h, err := New(Config{
		Services: []Service{
			{Desc: &authv1.AuthService_ServiceDesc, Conn: remote},
			{Desc: &authv1.UserService_ServiceDesc, Conn: remote},
			{Desc: &authv1.KeyService_ServiceDesc, Conn: remote},
			{Desc: &chatv1.ChatService_ServiceDesc, Conn: remote},
			{Desc: &chatv1.RoomService_ServiceDesc, Conn: remote},
			{Desc: &chatv1.MessageService_ServiceDesc, Conn: remote},
			{Desc: &presencev1.PresenceService_ServiceDesc, Conn: remote},
			{Desc: &clusterv1.ClusterService_ServiceDesc, Server: local},
		},
		Documents: []Document{
			{Name: "openapi.json", Type: "application/json", Content: openapi.OpenAPI}, {Name: "types.d.ts", Type: "text/plain", Content: []byte("types")},
		},
		WhoAsks: func(_ context.Context, r *http.Request, open bool) (metadata.MD, error) {
			if !open && r.Header.Get("X-Api-Key") == "bad" {
				return nil, fault.New(fault.Unauthenticated, "Unknown API key")
			}
			return metadata.MD{}, nil
		},
		MaxRequests: 2, Timeout: time.Minute, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h, remote, local
}

func ask(t *testing.T, h http.Handler, method, target, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://host"+target, strings.NewReader(body))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// refused checks an answer that is a refusal: our code, our words.
func refused(t *testing.T, what string, w *httptest.ResponseRecorder, wantStatus int, wantCode fault.Kind, wantMessage string) {
	t.Helper()
	var got struct{ Code, Message string }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Errorf("%s: answer %q: %v", what, w.Body, err)
	}
	if w.Code != wantStatus || got.Code != string(wantCode) || got.Message != wantMessage || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%s = %d %s, want %d %s %q", what, w.Code, w.Body, wantStatus, wantCode, wantMessage)
	}
}

// TestIdempotencyKey: a call that changes something takes its key along; one that is none is refused, and read by no call that reads.
func TestIdempotencyKey(t *testing.T) {
	h, remote, _ := newHandler(t)
	call := func(method, target string, keys ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, "http://host"+target, strings.NewReader("{}"))
		r.Header["Idempotency-Key"] = keys
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for _, method := range []string{"POST", "DELETE", "GET"} {
		target := map[string]string{"POST": "/api/v1/rooms", "DELETE": "/api/v1/rooms/r", "GET": "/api/v1/rooms/r"}[method]
		if w := call(method, target, "a key"); w.Code != http.StatusOK {
			t.Errorf("%s = %d %s", method, w.Code, w.Body)
		}
	}
	if want := []string{"a key", "a key", ""}; !slices.Equal(remote.keys, want) {
		t.Errorf("keys = %q, want %q", remote.keys, want)
	}
	for _, keys := range [][]string{{""}, {strings.Repeat("k", 65)}, {"\u00fc"}, {"\xff"}, {"a\x7f"}, {"a", "b"}} {
		refused(t, fmt.Sprintf("%q", keys), call("POST", "/api/v1/rooms", keys...), http.StatusBadRequest, fault.Invalid,
			"Idempotency-Key must be 1 to 64 printable ASCII characters, once")
	}
	if len(remote.keys) != 3 {
		t.Errorf("%d calls, want 3", len(remote.keys))
	}
}

// TestWrongRequests: every kind of mistake gets 400 with the name of the field, on every call, in our words.
func TestWrongRequests(t *testing.T) {
	h, remote, local := newHandler(t)
	for _, tc := range []struct{ method, target, body, want string }{
		// Not UTF-8.
		{"GET", "/api/v1/rooms/%FF/messages", "", "roomId must be UTF-8"},
		{"POST", "/api/v1/rooms/%FF/messages", "{}", "roomId must be UTF-8"},
		{"POST", "/api/v1/rooms/a%2F%ed%a0%80/messages", "{}", "roomId must be UTF-8"}, // half an emoji, as CESU
		{"GET", "/api/v1/users/%C3/sockets", "", "userId must be UTF-8"},
		{"DELETE", "/api/v1/users/%FF/sockets", "", "userId must be UTF-8"},
		{"POST", "/api/v1/users/%FF/revoke", "", "userId must be UTF-8"},
		{"GET", "/api/v1/presence?userId=a&userId=%FF", "", "userId must be UTF-8"},
		{"GET", "/api/v1/sockets?except.users=%FF", "", "except.users must be UTF-8"},
		{"GET", "/api/v1/sockets?cursor=%FF", "", "cursor must be UTF-8"},
		{"POST", "/api/v1/emit", "{\"event\":\"\xff\"}", "The body must be JSON in UTF-8"},
		{"POST", "/api/v1/auth/login", "{\"username\":\"\xff\"}", "The body must be JSON in UTF-8"},
		// Not JSON, or none of ours.
		{"POST", "/api/v1/emit", `{"event":`, "The body must be JSON in UTF-8"},
		{"POST", "/api/v1/auth/login", `{"username":"\u12"}`, "The body must be JSON in UTF-8"},
		{"POST", "/api/v1/auth/login", `{} {}`, "The body must be JSON in UTF-8"},
		{"POST", "/api/v1/auth/login", ` `, "The body must be JSON in UTF-8"},
		{"POST", "/api/v1/auth/login", `[]`, "The body must be a JSON object"},
		{"POST", "/api/v1/auth/login", `null`, "The body must be a JSON object"},
		{"POST", "/api/v1/notifications", strings.Repeat(`{"data":`, 50), "The body is nested too deeply"},
		// Other kinds.
		{"POST", "/api/v1/auth/login", `{"username":["x"]}`, "username must be a string"},
		{"POST", "/api/v1/auth/login", `{"username":42}`, "username must be a string"},
		{"POST", "/api/v1/emit", `{"event":"e","rooms":"r"}`, "rooms must be an array of strings"},
		{"POST", "/api/v1/emit", `{"event":"e","rooms":["r",null]}`, "rooms must be an array of strings"},
		{"POST", "/api/v1/emit", `{"event":"e","all":"yes"}`, "all must be true or false"},
		{"POST", "/api/v1/emit", `{"event":"e","args":{}}`, "args must be an array"},
		{"POST", "/api/v1/emit", `{"event":"e","attachments":["%"]}`, "attachments must be an array of base64 strings"},
		{"POST", "/api/v1/emit", `{"event":"e","ack":1}`, "ack must be an object"},
		{"POST", "/api/v1/emit", `{"event":"e","ack":{"timeoutMs":-1}}`, "ack.timeoutMs must be a whole number from 0 to 4294967295"},
		{"POST", "/api/v1/emit", `{"event":"e","ack":{"timeoutMs":1.5}}`, "ack.timeoutMs must be a whole number from 0 to 4294967295"},
		{"POST", "/api/v1/emit", `{"event":"e","except":{"users":"u"}}`, "except.users must be an array of strings"},
		{"POST", "/api/v1/notifications", `{"userId":"u","data":[]}`, "data must be an object"},
		{"POST", "/api/v1/sockets/disconnect", `{"close":0}`, "close must be true or false"},
		{"GET", "/api/v1/rooms/r/messages?limit=x", "", "limit must be a whole number from 0 to 4294967295"},
		{"GET", "/api/v1/rooms/r/messages?limit=4294967296", "", "limit must be a whole number from 0 to 4294967295"},
		{"GET", "/api/v1/rooms/r/messages?before=-1", "", "before must be a whole number from 0"},
		{"GET", "/api/v1/rooms/r/messages?before=18446744073709551616", "", "before must be a whole number from 0"},
		{"GET", "/api/v1/rooms/r/messages?limit=1&limit=2", "", "limit must be given once"},
		{"GET", "/api/v1/rooms/r/messages?limit", "", "limit must be a whole number from 0 to 4294967295"},
		{"GET", "/api/v1/rooms/r/messages?limit=1;before=2", "", "The query must be URL-encoded"},
		{"GET", "/api/v1/presence?userId=%zz", "", "The query must be URL-encoded"},
		{"GET", "/api/v1/sockets?all=maybe", "", "all must be true or false"},
		{"GET", "/api/v1/sockets?except=a", "", "except must be given by its fields"},
	} {
		refused(t, tc.method+" "+tc.target+" "+tc.body, ask(t, h, tc.method, tc.target, tc.body), http.StatusBadRequest, fault.Invalid, tc.want)
	}
	if len(remote.got)+len(local.got) > 0 {
		t.Errorf("wrong requests came to the services: %v, %v", remote.got, local.got)
	}
}

func TestOtherRefusals(t *testing.T) {
	h, remote, _ := newHandler(t)
	refused(t, "no path", ask(t, h, "GET", "/api/v1/nothing", ""), 404, fault.NotFound, "There is no such path")
	refused(t, "no id", ask(t, h, "GET", "/api/v1/rooms//messages", ""), 404, fault.NotFound, "There is no such path")
	refused(t, "a slash too many", ask(t, h, "GET", "/api/v1/rooms/", ""), 404, fault.NotFound, "There is no such path")
	for target, want := range map[string]string{
		"/api/v1/rooms":             "GET, HEAD, POST",
		"/api/v1/rooms/r":           "DELETE, GET, HEAD, PATCH",
		"/api/v1/rooms/r/messages":  "GET, HEAD, POST",
		"/api/v1/rooms/r/members/u": "DELETE, GET, HEAD, PATCH",
		"/api/v1/rooms/r/bans":      "GET, HEAD, POST",
		"/api/v1/rooms/r/bans/u":    "DELETE",
		"/api/v1/rooms/r/invites":   "GET, HEAD, POST",
		"/api/v1/rooms/r/invites/i": "DELETE",
		"/api/v1/rooms/r/prefs":     "PATCH",
		"/api/v1/blocks":            "GET, HEAD, POST",
		"/api/v1/blocks/u":          "DELETE",
		"/api/v1/audit":             "GET, HEAD",
		"/api/v1/users/u/sockets":   "DELETE, GET, HEAD",
		"/api/v1/users/u/revoke":    "POST",
		"/api/v1/emit":              "POST",
		"/api/v1/auth/login":        "POST",
		"/.well-known/jwks.json":    "GET, HEAD",
		"/api/openapi.json":         "GET, HEAD",
		"/api/types.d.ts":           "GET, HEAD",
	} {
		for _, method := range []string{"PUT", "PATCH", "DELETE", "GET", "POST", "OPTIONS"} {
			if slices.Contains(strings.Split(want, ", "), method) {
				continue
			}
			w := ask(t, h, method, target, "")
			refused(t, method+" "+target, w, 405, fault.Invalid, "The method must be "+strings.ReplaceAll(want, ", ", " or "))
			if got := w.Header().Get("Allow"); got != want {
				t.Errorf("%s %s: Allow = %q, want %q", method, target, got, want)
			}
		}
	}
	large := `{"content":"` + strings.Repeat("x", MaxBody) + `"}`
	refused(t, "a large body", ask(t, h, "POST", "/api/v1/rooms/r/messages", large), 413, fault.TooLarge, fmt.Sprintf("The body must not exceed %d bytes", MaxBody))
	// What gRPC itself says is not for clients, what a service says is.
	for code, want := range map[codes.Code]int{codes.ResourceExhausted: 429, codes.Unimplemented: 404, codes.InvalidArgument: 400, codes.Unavailable: 503, codes.Internal: 500} {
		remote.answer = func(proto.Message) error { return status.Error(code, "grpc: unknown service 10.0.0.1:9") }
		if w := ask(t, h, "GET", "/api/v1/rooms", ""); w.Code != want || strings.Contains(w.Body.String(), "grpc") {
			t.Errorf("a status %v = %d %s, want %d in our words", code, w.Code, w.Body, want)
		}
	}
	remote.answer = func(proto.Message) error {
		return fault.ToStatus(fault.Retry(fault.RateLimited, "Slowly", 1500*time.Millisecond))
	}
	w := ask(t, h, "GET", "/api/v1/rooms", "")
	refused(t, "a fault", w, 429, fault.RateLimited, "Slowly")
	if w.Header().Get("Retry-After") != "2" || !strings.Contains(w.Body.String(), `"retryAfterMs":1500`) {
		t.Errorf("Retry-After = %q, %s, want 2 and 1500", w.Header().Get("Retry-After"), w.Body)
	}
	refused(t, "a fault in this process", ask(t, h, "GET", "/api/v1/users/u/sockets", ""), 404, fault.NotFound, "of a service")
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/rooms", http.NoBody)
	r.Header.Set("X-Api-Key", "bad")
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	refused(t, "a wrong key", rec, 401, fault.Unauthenticated, "Unknown API key")
}

// TestPathIDs: every id that exists can be named, also one with a slash, dots or percent signs.
func TestPathIDs(t *testing.T) {
	h, remote, local := newHandler(t)
	for escaped, want := range map[string]string{
		"team%2Fgeneral": "team/general", "%2F": "/", "a%2F%2Fb": "a//b", "%2e%2e": "..", ".": ".", "..%2f..": "../..", "100%2541": "100%41",
		"r%20%C3%A4": "r ä", "a+b": "a+b", "a:b": "a:b", "%F0%9F%98%80": "😀", "%7Broom_id%7D": "{room_id}", "a%00b": "a\x00b", "messages": "messages",
	} {
		for _, tc := range []struct{ method, format string }{
			{"GET", "/api/v1/rooms/%s/messages"},
			{"POST", "/api/v1/rooms/%s/messages"},
			{"POST", "/api/v1/users/%s/revoke"},
			{"GET", "/api/v1/users/%s/sockets"},
		} {
			remote.got, local.got = nil, nil
			target := fmt.Sprintf(tc.format, escaped)
			w := ask(t, h, tc.method, target+"?roomId=q&userId=q", `{"roomId":"b"}`)
			got := slices.Concat(remote.got, local.got)
			if len(got) != 1 {
				t.Errorf("%s %s = %d %s, want it to be called", tc.method, target, w.Code, w.Body)
				continue
			}
			id := ""
			switch m := got[0].(type) {
			case interface{ GetRoomId() string }:
				id = m.GetRoomId()
			case interface{ GetUserId() string }:
				id = m.GetUserId()
			}
			if id != want {
				t.Errorf("%s %s: id = %q, want %q", tc.method, target, id, want)
			}
		}
	}
}

func TestReadsRequests(t *testing.T) {
	h, remote, local := newHandler(t)
	before, limit := uint64(1)<<60, uint32(5)
	for _, tc := range []struct {
		method, target, body string
		want                 proto.Message
	}{
		{"GET", "/api/v1/rooms/r/messages?before=1152921504606846976&limit=5.0&unknown=%FF", "", &chatv1.ListMessagesRequest{RoomId: "r", Before: &before, Limit: &limit}},
		{"GET", "/api/v1/presence?userId=a&user_id=b", "", &presencev1.GetPresenceRequest{UserId: []string{"a", "b"}}},
		{"GET", "/api/v1/sockets?roomId=r&except.userId=u&except.rooms=a&except.rooms=b&all=1", "", &clusterv1.FetchSocketsRequest{
			RoomId: "r", Except: &clusterv1.Except{UserId: "u", Rooms: []string{"a", "b"}}, All: true,
		}},
		{"POST", "/api/v1/users/u/revoke", "", &authv1.RevokeUserRequest{UserId: "u"}},
		// A half emoji is what it is on sockets: a text of ours has U+FFFD in its place.
		{"POST", "/api/v1/rooms/r/messages", `{"content":"\ud83d!\ude00\ud83d\ude00","client_msg_id":"c","type":null}`, &chatv1.PostMessageRequest{RoomId: "r", Content: "\uFFFD!\uFFFD😀", ClientMsgId: "c"}},
		{"POST", "/api/v1/auth/login", `{"username":"a","username":"b","other":{"password":1}}`, &authv1.LoginRequest{Username: "b"}},
		{"POST", "/api/v1/emit", `{"event":"e","args":[9007199254740993,1e400,"\ud83d"],"rooms":["a"],"rooms":["b"],"attachments":["/w==","_w"],"ack":{"timeoutMs":"7"},"argsJson":"AA"}`, &clusterv1.EmitRequest{
			Event: "e", ArgsJson: []byte(`[9007199254740993,1e400,"\ud83d"]`), Rooms: []string{"b"}, Attachments: [][]byte{{0xff}, {0xff}},
			Ack: &clusterv1.AckWish{TimeoutMs: 7, ArgsJson: true},
		}},
		{"POST", "/api/v1/notifications", `{"userId":"u","data":{"n":1e400, "a":9007199254740993}}`, &chatv1.NotifyRequest{UserId: "u", DataJson: []byte(`{"n":1e400, "a":9007199254740993}`)}},
	} {
		remote.got, local.got = nil, nil
		w := ask(t, h, tc.method, tc.target, tc.body)
		got := slices.Concat(remote.got, local.got)
		if w.Code != http.StatusOK || len(got) != 1 || !proto.Equal(got[0], tc.want) {
			t.Errorf("%s %s %s = %d %s, the service gets %v, want %v", tc.method, tc.target, tc.body, w.Code, w.Body, got, tc.want)
		}
	}
	// A service of before knows no dataJson.
	remote.got = nil
	ask(t, h, "POST", "/api/v1/notifications", `{"data":{"n":[1,"x"]}}`)
	if got := remote.got[0].(*chatv1.NotifyRequest).GetData().AsMap(); fmt.Sprint(got) != "map[n:[1 x]]" {
		t.Errorf("data = %v, want it as protobuf too", got)
	}
}

// TestEmitWithoutTarget keeps an empty list of targets, or a misspelt one, from becoming everyone.
func TestEmitWithoutTarget(t *testing.T) {
	h, _, local := newHandler(t)
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
		``:                                    false,
	} {
		local.got = nil
		w := ask(t, h, "POST", "/api/v1/emit", body)
		if len(local.got) != 1 || local.got[0].(*clusterv1.EmitRequest).GetAll() != want {
			t.Errorf("POST %s = %d %s, the cluster gets %v, want all %v", body, w.Code, w.Body, local.got, want)
		}
	}
}

func TestWritesAnswers(t *testing.T) {
	h, remote, _ := newHandler(t)
	if got, want := ask(t, h, "POST", "/api/v1/emit", `{"event":"e","ack":{}}`).Body.String(), `{"sockets":1,"replies":[`+
		`{"socketId":"s","userId":"","args":[9007199254740993,1e400,"\ud83d"],"attachments":["/w=="],"truncated":false},`+
		`{"socketId":"t","userId":"","args":null,"attachments":[],"truncated":true}],`+
		`"expected":0,"missing":0,"partial":false,"missingGateways":0,"truncated":false}`; got != want {
		t.Errorf("emit = %s, want %s", got, want)
	}
	remote.answer = func(out proto.Message) error {
		proto.Merge(out, &chatv1.ListRoomsResponse{Rooms: []*chatv1.Room{
			{RoomId: "12", Seq: 9007199254740991, LastMessage: &chatv1.Message{Seq: 4, Content: "<b>&\u2028\"", Sender: &chatv1.Sender{Id: "u"}}}, {},
		}})
		return nil
	}
	w := ask(t, h, "GET", "/api/v1/rooms", "")
	var rooms struct {
		Rooms []struct {
			RoomID      string
			Seq         int
			Unread      *int
			LastMessage *struct {
				Seq     int
				Content string
			}
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &rooms); err != nil || len(rooms.Rooms) != 2 || rooms.Rooms[0].RoomID != "12" || rooms.Rooms[0].Seq != 9007199254740991 ||
		rooms.Rooms[0].LastMessage.Content != "<b>&\u2028\"" || rooms.Rooms[1].LastMessage != nil || rooms.Rooms[1].Unread == nil {
		t.Errorf("rooms = %s, %v, want numbers, text and empty fields as they are", w.Body, err)
	}
	if h := w.Header(); h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers = %v, want what is private not to be kept", h)
	}
	head := ask(t, h, "HEAD", "/api/v1/rooms", "")
	if head.Code != http.StatusOK {
		t.Errorf("HEAD = %d, want 200", head.Code)
	}
}

// TestSlots: requests beyond the bound are refused at once, and who sends slowly holds no slot.
func TestSlots(t *testing.T) {
	h, remote, _ := newHandler(t)
	calling, answer := make(chan struct{}), make(chan struct{})
	remote.answer = func(proto.Message) error { calling <- struct{}{}; <-answer; return nil }
	done := make(chan int, 2)
	for range 2 {
		reader, writer := io.Pipe()
		go func() {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/rooms/r/messages", reader)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			done <- w.Code
		}()
		_, _ = writer.Write([]byte("{")) // it is being read; the rest does not come yet
		defer func() { _ = writer.Close() }()
	}
	slowOnes := len(h.slots)
	for range 2 {
		go func() {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/rooms", http.NoBody)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			done <- w.Code
		}()
	}
	<-calling
	<-calling
	if slowOnes != 0 {
		t.Errorf("requests whose body is under way hold %d slots, want none", slowOnes)
	}
	w := ask(t, h, "GET", "/api/v1/rooms", "")
	refused(t, "one too many", w, 503, fault.Unavailable, "Too many requests at once")
	if w.Header().Get("Retry-After") != "1" {
		t.Errorf("Retry-After = %q, want 1", w.Header().Get("Retry-After"))
	}
	close(answer)
	for range 2 {
		if code := <-done; code != http.StatusOK {
			t.Errorf("a request = %d, want 200", code)
		}
	}
}

// TestObjectsInLists: a list of objects is read element by element, and only what is there is set.
func TestObjectsInLists(t *testing.T) {
	h, remote, _ := newHandler(t)
	w := ask(t, h, "POST", "/api/v1/users:upsert", `{"users":[{"id":"a","name":"","data":{"n":9007199254740993}},{"id":"b"}]}`)
	if w.Code != http.StatusOK || len(remote.got) != 1 {
		t.Fatalf("upsert = %d %s, want 200", w.Code, w.Body)
	}
	list := remote.got[0].(*authv1.UpsertUsersRequest).GetUsers()
	if len(list) != 2 || list[0].GetId() != "a" || list[0].Name == nil || string(list[0].GetDataJson()) != `{"n":9007199254740993}` || list[1].GetId() != "b" || list[1].Name != nil || list[1].Data != nil {
		t.Errorf("upsert of two was read as %v", list)
	}
	for _, body := range []string{`{"users":{"id":"a"}}`, `{"users":[1]}`, `{"users":[null]}`, `{"users":["a"]}`} {
		refused(t, body, ask(t, h, "POST", "/api/v1/users:upsert", body), 400, fault.Invalid, "users must be an array of objects")
	}
	refused(t, "a wrong field", ask(t, h, "POST", "/api/v1/users:upsert", `{"users":[{"id":7}]}`), 400, fault.Invalid, "users.id must be a string")

	w = ask(t, h, "PATCH", "/api/v1/users/crm%2F1", `{"disabled":false}`)
	change, ok := remote.got[len(remote.got)-1].(*authv1.UpdateUserRequest)
	if w.Code != http.StatusOK || !ok || change.GetUserId() != "crm/1" || change.Disabled == nil || change.GetDisabled() || change.Name != nil {
		t.Errorf("PATCH = %d %s, read as %v", w.Code, w.Body, change)
	}
	if w = ask(t, h, "PUT", "/api/v1/users/a", "{}"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "DELETE, GET, HEAD, PATCH" {
		t.Errorf("PUT = %d, Allow %q, want 405 with the methods there are", w.Code, w.Header().Get("Allow"))
	}
}

// TestDocument compares the OpenAPI document with what is served.
func TestDocument(t *testing.T) {
	h, _, _ := newHandler(t)
	type schema = map[string]any
	var doc struct {
		Info                struct{ Title, Version string }
		SecurityDefinitions map[string]any
		Paths               map[string]map[string]struct {
			Security   []map[string][]string
			Responses  map[string]struct{ Schema schema }
			Parameters []struct {
				Name, In, Type string
				Schema         schema
			}
		}
		Definitions map[string]struct{ Properties map[string]schema }
	}
	w := ask(t, h, "GET", "/api/openapi.json", "")
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Info.Title != "Starling REST API" || doc.Info.Version == "" || len(doc.SecurityDefinitions) != 2 {
		t.Errorf("info = %+v, security definitions = %v", doc.Info, doc.SecurityDefinitions)
	}
	if p := doc.Definitions["Error"].Properties; p["code"]["type"] != "string" || len(p["code"]["enum"].([]any)) != len(fault.Kinds()) || p["retryAfterMs"]["type"] != "integer" {
		t.Errorf("Error = %v, want the closed list of codes", p)
	}
	operations := 0
	for path, methods := range doc.Paths {
		for method, o := range methods {
			operations++
			open := isOpen(path)
			if o.Responses["default"].Schema["$ref"] != "#/definitions/Error" || o.Security == nil || open != (len(o.Security) == 0) {
				t.Errorf("%s %s: errors are %v, security %v", method, path, o.Responses["default"], o.Security)
			}
			keyed := false
			for _, p := range o.Parameters {
				keyed = keyed || p.Name == "Idempotency-Key" && p.In == "header"
				want := map[string]string{"before": "integer", "after": "integer", "limit": "integer", "all": "boolean"}[p.Name]
				if p.Name == "after" && !strings.HasSuffix(path, "/messages") && !strings.HasSuffix(path, "/pins") {
					want = "string" // an id
				}
				if want != "" && p.Type != want {
					t.Errorf("%s %s: %s is %s, want %s", method, path, p.Name, p.Type, want)
				}
			}
			if want := method != "get" && (strings.HasPrefix(path, "/api/v1/rooms") || strings.HasPrefix(path, "/api/v1/blocks") || path == "/api/v1/notifications"); keyed != want {
				t.Errorf("%s %s takes an Idempotency-Key: %v, want %v", method, path, keyed, want)
			}
		}
	}
	if operations != len(h.routes)-len(h.cfg.Documents) {
		t.Errorf("the document has %d calls, want %d", operations, len(h.routes)-len(h.cfg.Documents))
	}
	// Every schema that is a message has the message's fields, each of its kind.
	checked := 0
	for _, r := range h.routes[:len(h.routes)-len(h.cfg.Documents)] {
		for _, name := range []protoreflect.FullName{r.in.Descriptor().FullName(), r.out} {
			checked += checkSchema(t, name, func(definition string) (map[string]schema, bool) {
				d, ok := doc.Definitions[definition]
				return d.Properties, ok
			})
		}
	}
	if checked < 15 {
		t.Errorf("%d schemas were compared, want most", checked)
	}
	if strings.Contains(w.Body.String(), "Json\"") || strings.Contains(w.Body.String(), "protobufAny") {
		t.Error("the document has fields that are no part of the interface")
	}
}

func checkSchema(t *testing.T, name protoreflect.FullName, find func(string) (map[string]map[string]any, bool)) (checked int) {
	t.Helper()
	properties, ok := find("v1" + string(name.Name()))
	if !ok {
		return 0
	}
	message, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range message.Descriptor().Fields().Len() {
		field := message.Descriptor().Fields().Get(i)
		s, has := properties[field.JSONName()]
		if has == hidden(field) {
			t.Errorf("%s.%s is in the document: %v, want %v", name, field.JSONName(), has, !hidden(field))
		}
		if field.IsMap() {
			t.Errorf("%s.%s is a map, which is neither read nor written here", name, field.JSONName())
		}
		if field.IsList() {
			s, _ = s["items"].(map[string]any)
		}
		want := ""
		switch field.Kind() {
		case protoreflect.StringKind, protoreflect.BytesKind:
			want = "string"
		case protoreflect.BoolKind:
			want = "boolean"
		case protoreflect.MessageKind:
			continue
		default:
			want = "integer"
		}
		if has && s["type"] != want {
			t.Errorf("%s.%s is %v, want %s", name, field.JSONName(), s["type"], want)
		}
	}
	return 1
}

package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/postgres"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/platform/pg"
)

// fill makes a room whose log is join, then n messages.
func fill(t *testing.T, s *postgres.Store, room chat.RoomID, n int) []rules.Outcome {
	t.Helper()
	commands := []rules.Command{join(room, "ann")}
	for i := range n {
		commands = append(commands, send(room, "ann", fmt.Sprint("m", i), ""))
	}
	outcomes, _ := commit(t, s, commands...)
	return outcomes[1:]
}

func TestViewPages(t *testing.T) {
	s := open(t, database(t))
	fill(t, s, "r", 10) // messages 2..11
	tests := []struct {
		page usecases.Page
		want []uint64
		more bool
	}{
		{usecases.Page{Limit: 3}, []uint64{9, 10, 11}, true},
		{usecases.Page{Limit: 10}, []uint64{2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, false},
		{usecases.Page{Before: new(uint64(5)), Limit: 2}, []uint64{3, 4}, true},
		{usecases.Page{Before: new(uint64(3)), Limit: 2}, []uint64{2}, false},
		{usecases.Page{After: new(uint64(8)), Limit: 2}, []uint64{9, 10}, true},
		{usecases.Page{After: new(uint64(9)), Limit: 2}, []uint64{10, 11}, false},
		{usecases.Page{After: new(uint64(11)), Limit: 2}, nil, false},
		{usecases.Page{After: new(uint64(2)), Before: new(uint64(5)), Limit: 9}, []uint64{3, 4}, false},
		{usecases.Page{After: new(uint64(1 << 52)), Limit: 2}, nil, false},
	}
	for _, test := range tests {
		v, err := s.View(t.Context(), "r", "ann", test.page)
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for _, m := range v.Messages {
			got = append(got, m.Seq)
		}
		if diff := cmp.Diff(test.want, got); diff != "" || v.HasMore != test.more || v.Head != 11 {
			t.Errorf("View(%+v): hasMore %v, head %d (-want +got):\n%s", test.page, v.HasMore, v.Head, diff)
		}
	}
	if v, err := s.View(t.Context(), "r", "eve", usecases.Page{Limit: 5}); err != nil || v.Member || len(v.Messages) > 0 || !v.Exists {
		t.Errorf("View of a stranger = %+v, %v, want no messages", v, err)
	}
	if v, err := s.View(t.Context(), "nowhere", "ann", usecases.Page{Limit: 5}); err != nil || v.Exists {
		t.Errorf("View of no room = %+v, %v", v, err)
	}
}

// TestViewIsOneSnapshot joins while others write: head and history must fit.
func TestViewIsOneSnapshot(t *testing.T) {
	cfg := database(t)
	s := open(t, cfg)
	fill(t, s, "r", 1)
	w := writer(t, s, nowhere{})
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_, _ = w.Do(t.Context(), send("r", "ann", "x", ""))
			}
		}
	}()
	for range 200 {
		v, err := s.View(t.Context(), "r", "ann", usecases.Page{Limit: 50})
		if err != nil {
			t.Fatal(err)
		}
		if last := v.Messages[len(v.Messages)-1].Seq; last != v.Head {
			t.Fatalf("View: last message %d, head %d, want the same", last, v.Head)
		}
	}
	close(stop)
	<-done
}

func TestEventsInParts(t *testing.T) {
	s := open(t, database(t))
	commit(t, s, join("r", "ann"), send("r", "ann", "a", ""), join("r", "bob"), leave("r", "bob"), send("r", "ann", "b", ""))
	for after := range uint64(5) {
		for limit := 1; limit < 6; limit++ {
			for to := range uint64(7) {
				events, head, err := s.Events(t.Context(), "r", after, to, limit)
				if err != nil {
					t.Fatal(err)
				}
				last := uint64(5)
				if to > 0 {
					last = min(last, to)
				}
				want := min(limit, max(int(last)-int(after), 0))
				if len(events) != want || head != 5 || want > 0 && events[0].Seq != after+1 {
					t.Errorf("Events(after %d, to %d, limit %d) = %d events, head %d, want %d", after, to, limit, len(events), head, want)
				}
			}
		}
	}
}

// TestReceiptsNeverMoveBack gives the same receipts in batches of every size: the outcomes are as if one came after the other.
func TestReceiptsNeverMoveBack(t *testing.T) {
	s := open(t, database(t))
	outcome := func(role access.Role, message, moved bool) usecases.ReadOutcome {
		s := access.Standing{Exists: true, Kind: access.Public, Member: role != "", Role: role}
		return usecases.ReadOutcome{Standing: s, MessageExists: message, Moved: moved}
	}
	const owner, member = access.RoleOwner, access.RoleMember
	for size := 1; size <= 10; size++ {
		room := chat.RoomID(fmt.Sprint("read in ", size))
		sent := fill(t, s, room, 4)
		commit(t, s, join(room, "bob"))
		forged := sent[3].ID
		forged[8] ^= 1
		read := func(user chat.UserID, id chat.MessageID) usecases.Receipt {
			return usecases.Receipt{Membership: chat.Membership{Room: room, User: user}, Message: id}
		}
		receipts := []usecases.Receipt{
			read("ann", sent[1].ID), read("ann", sent[0].ID), read("ann", sent[1].ID), read("bob", sent[0].ID), read("ann", forged),
			read("ann", sent[2].ID), read("eve", sent[0].ID),
			{Membership: chat.Membership{Room: "nowhere", User: "ann"}, Message: sent[0].ID},
			read("ann", sent[0].ID), read("bob", sent[2].ID),
		}
		want := []usecases.ReadOutcome{
			outcome(owner, true, true), outcome(owner, true, false), outcome(owner, true, false), outcome(member, true, true),
			outcome(owner, false, false),
			outcome(owner, true, true),
			outcome("", true, false),
			{},
			outcome(owner, true, false), outcome(member, true, true),
		}
		var got []usecases.ReadOutcome
		for part := range slices.Chunk(receipts, size) {
			outcomes, err := s.MarkRead(t.Context(), part)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range outcomes {
				got = append(got, usecases.ReadOutcome{Standing: o.Standing, MessageExists: o.MessageExists, Moved: o.Moved})
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("outcomes in batches of %d (-want +got):\n%s", size, diff)
		}
	}
}

// TestReaders: the receipts of members, by pages, and nothing of them for strangers.
func TestReaders(t *testing.T) {
	s := open(t, database(t))
	const room = chat.RoomID("r")
	sent := fill(t, s, room, 3)
	var receipts []usecases.Receipt
	for i := range 7 { // u0 has read the first message, u1 the second, u2 the third, u3 the first …
		user := chat.UserID(fmt.Sprint("u", i))
		commit(t, s, join(room, user))
		receipts = append(receipts, usecases.Receipt{Membership: chat.Membership{Room: room, User: user}, Message: sent[i%3].ID})
	}
	if _, err := s.MarkRead(t.Context(), receipts); err != nil {
		t.Fatal(err)
	}
	commit(t, s, leave(room, "u5"))
	forged := sent[0].ID
	forged[8] ^= 1
	member := access.Standing{Exists: true, Kind: access.Public, Member: true, Role: access.RoleMember}
	all := usecases.ReadOutcome{Standing: member, MessageExists: true}
	for _, test := range []struct {
		as    chat.UserID
		page  usecases.ReadersPage
		flags usecases.ReadOutcome
		users string
		count int
		more  bool
	}{
		{"u0", usecases.ReadersPage{Limit: 10}, all, "u0 u1 u2 u3 u4 u6", 6, false},
		{"u0", usecases.ReadersPage{Limit: 6}, all, "u0 u1 u2 u3 u4 u6", 6, false},
		{"u0", usecases.ReadersPage{Limit: 2}, all, "u0 u1", 6, true},
		{"u0", usecases.ReadersPage{Limit: 2, After: "u1"}, all, "u2 u3", 6, true},
		{"u0", usecases.ReadersPage{Limit: 2, After: "u4"}, all, "u6", 6, false},
		{"u0", usecases.ReadersPage{Limit: 9, Message: &sent[0].ID}, all, "u0 u1 u2 u3 u4 u6", 6, false},
		{"u0", usecases.ReadersPage{Limit: 9, Message: &sent[1].ID}, all, "u1 u2 u4", 3, false},
		{"u0", usecases.ReadersPage{Limit: 9, Message: &sent[2].ID}, all, "u2", 1, false},
		{"u0", usecases.ReadersPage{Limit: 9, Message: &forged}, usecases.ReadOutcome{Standing: member}, "u0 u1 u2 u3 u4 u6", 6, false},
		{"u5", usecases.ReadersPage{Limit: 9}, usecases.ReadOutcome{Standing: access.Standing{Exists: true, Kind: access.Public}, MessageExists: true}, "", 0, false},
	} {
		got, err := s.Readers(t.Context(), chat.Membership{Room: room, User: test.as}, test.page)
		if err != nil {
			t.Fatal(err)
		}
		var users []string
		for _, r := range got.List {
			users = append(users, string(r.User))
			if i := r.User[1] - '0'; r.Seq != sent[i%3].Seq {
				t.Errorf("%s has read up to %d, want %d", r.User, r.Seq, sent[i%3].Seq)
			}
		}
		if strings.Join(users, " ") != test.users || got.Count != test.count || got.HasMore != test.more || got.ReadOutcome != test.flags {
			t.Errorf("Readers(%s, %+v) = %+v, want %s of %d, more %v", test.as, test.page, got, test.users, test.count, test.more)
		}
	}
}

// TestUnread: what others said after what the user has read, said itself, or came to.
func TestUnread(t *testing.T) {
	s := open(t, database(t))
	unread := func(room chat.RoomID, user chat.UserID, want int) {
		t.Helper()
		rooms, err := s.Rooms(t.Context(), user, usecases.RoomsPage{Limit: 9})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rooms.List {
			if r.Room == room && int(r.Marker.Unread) != want {
				t.Errorf("unread of %s in %s = %d, want %d", user, room, int(r.Marker.Unread), want)
			}
		}
		if !slices.ContainsFunc(rooms.List, func(r usecases.RoomSummary) bool { return r.Room == room }) {
			t.Errorf("%s is not listed for %s", room, user)
		}
	}
	fill(t, s, "r", 7)
	commit(t, s, join("r", "bob"))
	unread("r", "bob", 0) // a newcomer has nothing to catch up with
	unread("r", "ann", 0)
	commit(t, s, send("r", "ann", "x", ""), send("r", "ann", "x", ""), send("r", "ann", "x", ""))
	unread("r", "bob", 3)
	commit(t, s, send("r", "bob", "x", ""))
	unread("r", "bob", 0) // an answer
	unread("r", "ann", 1)
	commit(t, s, leave("r", "bob"), send("r", "ann", "x", ""), join("r", "bob"), send("r", "ann", "x", ""))
	unread("r", "bob", 1) // what was said while it was away does not count

	own := make([]rules.Command, 2100)
	for i := range own {
		own[i] = send("r", "bob", "x", "")
	}
	for part := range slices.Chunk(own, 700) {
		commit(t, s, part...)
	}
	for range 5 {
		commit(t, s, send("r", "ann", "x", ""))
	}
	unread("r", "bob", 5) // behind many of its own
	others := make([]rules.Command, 1200)
	for i := range others {
		others[i] = send("r", "ann", "x", "")
	}
	outcomes, _ := commit(t, s, others...)
	unread("r", "bob", chat.MaxUnread)
	_, err := s.MarkRead(t.Context(), []usecases.Receipt{{Membership: chat.Membership{Room: "r", User: "bob"}, Message: outcomes[1190].ID}})
	if err != nil {
		t.Fatal(err)
	}
	unread("r", "bob", 9)
}

func TestOutbox(t *testing.T) {
	cfg := database(t)
	a, b := open(t, cfg), open(t, cfg)
	_, out := commit(t, a, join("r", "ann"), send("r", "ann", "x", ""))
	if n, _, err := a.Lag(t.Context()); err != nil || n != 1 {
		t.Errorf("Lag = %d, %v, want 1", n, err)
	}
	pool, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var later bool // and how much later, a slow machine may have used up
	if err := pool.QueryRow(t.Context(), `UPDATE outbox SET due_at = due_at + interval '1 hour' RETURNING due_at > created_at + interval '1 hour'`).Scan(&later); err != nil || !later {
		t.Fatalf("a row is due later than it was written: %v, %v, want true: the fast path has it first", later, err)
	}
	if rows, err := a.Claim(t.Context(), 10); err != nil || len(rows) != 0 {
		t.Fatalf("Claim before the row is due = %v, %v, want none", rows, err)
	}
	// The fast path had its time.
	if _, err := pool.Exec(t.Context(), `UPDATE outbox SET due_at = clock_timestamp()`); err != nil {
		t.Fatal(err)
	}
	rows, err := a.Claim(t.Context(), 10)
	if err != nil || len(rows) != 1 {
		t.Fatalf("Claim = %v, %v, want one row", rows, err)
	}
	if diff := cmp.Diff(out, rows[0]); diff != "" {
		t.Errorf("claimed row (-committed +claimed):\n%s", diff)
	}
	if rows, err := b.Claim(t.Context(), 10); err != nil || len(rows) != 0 {
		t.Errorf("Claim of another replica = %v, %v, want none: it is leased", rows, err)
	}
	if err := b.Done(t.Context(), []chat.OutboxID{out.ID}); err != nil {
		t.Fatal(err)
	}
	if n, _, err := a.Lag(t.Context()); err != nil || n != 0 {
		t.Errorf("Lag = %d, %v, want 0", n, err)
	}
}

func TestNotificationPages(t *testing.T) {
	s := open(t, database(t))
	var ids []usecases.NotificationID
	for i := range 5 {
		id := uuid.Must(uuid.NewV7())
		n := usecases.Notification{ID: id, User: "ann", Type: "t", Title: fmt.Sprint(i), CreatedAt: time.Now()}
		if _, fresh, err := s.AddNotification(t.Context(), n, ""); err != nil || !fresh {
			t.Fatalf("AddNotification = %v, %v", fresh, err)
		}
		ids = append(ids, id)
	}
	page, unread, err := s.Notifications(t.Context(), "ann", &ids[3], 2)
	if err != nil || unread != 5 || len(page) != 2 || page[0].ID != ids[2] || page[1].ID != ids[1] {
		t.Errorf("Notifications = %v, %d, %v", page, unread, err)
	}
	for _, test := range []struct {
		read []usecases.NotificationsRead
		want []int
	}{
		{[]usecases.NotificationsRead{{User: "bob", IDs: ids}}, []int{0}}, // another user's: nothing changes
		{[]usecases.NotificationsRead{{User: "ann"}}, []int{5}},
		{[]usecases.NotificationsRead{{User: "ann", IDs: ids[:2]}, {User: "bob", IDs: ids}, {User: "ann", IDs: ids[1:3]}}, []int{2, 0, 2}},
		{[]usecases.NotificationsRead{{User: "ann", IDs: []usecases.NotificationID{ids[4], ids[4]}}}, []int{1}},
	} {
		if unread, err := s.MarkNotifications(t.Context(), test.read); err != nil || !slices.Equal(unread, test.want) {
			t.Errorf("MarkNotifications(%v) = %v, %v, want %v", test.read, unread, err, test.want)
		}
	}
}

// TestRoommates: who shares a room with a user, among those asked for.
func TestRoommates(t *testing.T) {
	s := open(t, database(t))
	commit(t, s, join("r", "ann"), join("r", "bob"), join("other", "ann"), join("other", "cid"), join("far", "dan"), join("far", "eve"))
	commit(t, s, rules.Leave{Origin: rules.Origin{Room: "other", User: "cid"}})
	for _, test := range []struct {
		of         chat.UserID
		candidates []chat.UserID
		want       []chat.UserID
	}{
		{"ann", []chat.UserID{"bob", "cid", "dan", "eve", "nobody"}, []chat.UserID{"bob"}},
		{"ann", []chat.UserID{"ann"}, []chat.UserID{"ann"}},
		{"bob", []chat.UserID{"ann", "cid"}, []chat.UserID{"ann"}},
		{"eve", []chat.UserID{"ann", "bob"}, nil},
		{"nobody", []chat.UserID{"nobody", "ann"}, nil},
	} {
		got, err := s.Roommates(t.Context(), test.of, test.candidates, nil)
		slices.Sort(got)
		if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("Roommates(%s, %v): %v (-want +got):\n%s", test.of, test.candidates, err, diff)
		}
	}
}

package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/starling-chat/starling/test/chaos/internal/history"
)

// logs is invariant 15, of the logs of users:
//
//   - in the database the last thousand facts of a log are without holes up to its last_seq, and older ones as far as none replaced them; it tells of
//     a room as often as the user became a member there or ceased to be one, by the room's own log, in turn.
//   - what a device heard is 1, 2, 3 and so on, over all its connections, whether they were recovered or resumed by useq; and each is what
//     the database has there. Who left a room may not be told later by what it was mentioned there.
//   - in the end a device that has been connected for recoveryTime has heard all that had been stored for as long. Nothing is owed to those
//     whose tokens were revoked.
func logs(x *index, r *Result) {
	told := make([][]*history.Told, len(x.h.Users))
	for i := range x.h.Told {
		if t := &x.h.Told[i]; x.user(t.User) {
			told[t.User] = append(told[t.User], t)
		}
	}
	for user, log := range told {
		slices.SortFunc(log, func(a, b *history.Told) int { return cmp.Compare(a.Seq, b.Seq) })
		stored(x, r, user, log)
	}
	heard := make(map[listener][]*history.Heard)
	for i := range x.h.Heard {
		d := &x.h.Heard[i]
		who := listener{d.User, d.Device}
		heard[who] = append(heard[who], d)
	}
	last := make(map[listener]*history.Conn)
	for i := range x.h.Conns {
		c := &x.h.Conns[i]
		who := listener{c.User, c.Device}
		if before := last[who]; x.user(c.User) && (before == nil || c.Up > before.Up) {
			last[who] = c
		}
	}
	devices := make([]listener, 0, len(last))
	for who := range last {
		devices = append(devices, who)
	}
	slices.SortFunc(devices, func(a, b listener) int { return cmp.Or(cmp.Compare(a.user, b.user), cmp.Compare(a.device, b.device)) })
	for _, who := range devices {
		position := listened(x, r, who, heard[who], told[who.user])
		heardAll(x, r, who, last[who], position, told[who.user])
	}
}

// listener is one device of a user.
type listener struct{ user, device int }

func (x *index) deviceName(who listener) string {
	return fmt.Sprintf("device %d of %s", who.device, x.userName(who.user))
}

// wholeFacts is how many facts of a log are kept, whether others have replaced them or not.
const wholeFacts = 1000

// stored looks at a log in the database.
func stored(x *index, r *Result, user int, log []*history.Told) {
	end := x.h.Config.End
	last := x.h.Users[user].LogSeq
	next := last + 1
	for _, t := range slices.Backward(log) {
		r.Checked++
		if old := t.Seq+wholeFacts <= last; t.Seq != next-1 && !(old && t.Seq < next) {
			r.fail(x, t.At, "the log of %s has %d where %d should be, last_seq is %d", x.userName(user), t.Seq, next-1, last)
			return
		}
		next = t.Seq
	}
	if len(log) == 0 && last > 0 {
		r.fail(x, end, "the log of %s is empty, last_seq is %d", x.userName(user), last)
		return
	}
	rooms := make(map[int][]string)
	for _, t := range log {
		if x.room(t.Room) && (strings.HasSuffix(t.Kind, "room-added") || strings.HasSuffix(t.Kind, "room-removed")) {
			rooms[t.Room] = append(rooms[t.Room], t.Kind)
		}
	}
	for room := range x.h.Rooms {
		kinds, changes := rooms[room], x.memberships(room)[user]
		if whole := len(log) == 0 || log[0].Seq == 1; whole && len(kinds) != len(changes) || len(kinds) > len(changes) {
			r.fail(x, end, "the log of %s tells %d times of %s, where the user came or went %d times", x.userName(user), len(kinds), x.roomName(room), len(changes))
			continue
		}
		for i, kind := range kinds {
			came := (len(changes)-len(kinds)+i)%2 == 0
			if came != strings.HasSuffix(kind, "room-added") {
				r.fail(x, end, "the log of %s tells of %s by %s for the change at %d", x.userName(user), x.roomName(room), kind, changes[len(changes)-len(kinds)+i])
				break
			}
		}
	}
}

// listened follows what a device heard, and gives up to where.
func listened(x *index, r *Result, who listener, heard []*history.Heard, log []*history.Told) (position uint64) {
	for _, d := range heard {
		r.Checked++
		switch {
		case strings.HasSuffix(d.Kind, ":reset"):
			r.fail(x, d.At, "%s, at %d, was told at %s to begin anew at %d", x.deviceName(who), position, clock(d.At), d.Seq)
		case d.Seq <= position:
			r.fail(x, d.At, "%s heard %s %d again, or late, at %s: it was at %d", x.deviceName(who), d.Kind, d.Seq, clock(d.At), position)
		case d.Seq > position+1 && !x.withheld(who.user, position, d.Seq, log):
			r.fail(x, d.At, "%s did not hear %d to %d of its log before %s (connection %d)", x.deviceName(who), position+1, d.Seq-1, clock(d.At), d.Conn)
		}
		position = max(position, d.Seq)
		if len(log) == 0 || d.Seq < log[0].Seq {
			if d.Seq > x.h.Users[who.user].LogSeq {
				r.fail(x, d.At, "%s heard %s %d, which the database does not have", x.deviceName(who), d.Kind, d.Seq)
			}
			continue // it is not kept any more
		}
		i, found := slices.BinarySearchFunc(log, d.Seq, func(t *history.Told, seq uint64) int { return cmp.Compare(t.Seq, seq) })
		switch {
		case !found && d.Seq+wholeFacts > x.h.Users[who.user].LogSeq:
			r.fail(x, d.At, "%s heard %s %d, which the database does not have", x.deviceName(who), d.Kind, d.Seq)
		case found && (log[i].Hash != d.Hash || log[i].Kind != d.Kind):
			r.fail(x, d.At, "%s heard %s as %d of its log, and the database has another event there, %s", x.deviceName(who), d.Kind, d.Seq, log[i].Kind)
		}
	}
	return position
}

// withheld tells whether all that a log has between two numbers are mentions in rooms that the user left at some time.
func (x *index) withheld(user int, after, before uint64, log []*history.Told) bool {
	from, _ := slices.BinarySearchFunc(log, after+1, func(t *history.Told, seq uint64) int { return cmp.Compare(t.Seq, seq) })
	for seq := after + 1; seq < before; seq++ {
		if from == len(log) || log[from].Seq != seq || log[from].Kind != "me:mention" || !x.room(log[from].Room) || len(x.memberships(log[from].Room)[user]) < 2 {
			return false
		}
		from++
	}
	return true
}

// heardAll compares up to where a device has heard with where the log stands in the end.
func heardAll(x *index, r *Result, who listener, last *history.Conn, position uint64, log []*history.Told) {
	end := x.h.Config.End
	if x.h.Users[who.user].Revoked > 0 || last.Down > 0 || x.after(last.Up, recoveryTime) > end {
		return
	}
	for _, t := range slices.Backward(log) {
		if x.after(t.At, recoveryTime) > end {
			continue
		}
		r.Checked++
		if position < t.Seq {
			r.fail(x, end, "%s is at %d of its log in the end, which had %d at %s", x.deviceName(who), position, t.Seq, clock(t.At))
		}
		return
	}
}

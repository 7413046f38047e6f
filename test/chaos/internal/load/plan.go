package load

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Shares of the clients, and sizes.
const (
	slowPercent      = 5
	outcastPercent   = 5
	wandererPercent  = 3
	pollingPercent   = 4
	refresherPercent = 4
	accountPercent   = 4
	severalPercent   = 4
	absentPercent    = 4
	listenerPercent  = 4
	readerPercent    = 10
	observers        = 4

	hotMembers  = 50
	roomMembers = 8
	maxRooms    = 4
	hotPercent  = 10 // of the sends go to room 0
)

// Ways of a room's members to leave it while the load runs.
const (
	outcastFrom, outcastUntil   = 5 * time.Second, 30 * time.Second
	wandererFrom, wandererUntil = 3 * time.Second, 40 * time.Second
	wanderFor                   = 3 * time.Second
)

// role is what a client is beside being a client.
type role struct {
	slow, outcast, wanderer, polling, refresher, account, reader, observer bool

	several, absent bool // three devices that race for markers; goes away and comes back as a stranger
	listener        bool // says nothing, so that three devices know without asking what is unread

	moderator, suspect bool // of a private room: who takes others out, and who is taken out
}

// plain tells of a client without another part to play.
func (r role) plain() bool { return r == role{} || r == role{reader: true} }

// enters tells of a client that comes back into all of its rooms in one round trip.
func (r role) enters() bool { return r.absent || r.listener || r.several }

// plan is what follows from the seed alone.
type plan struct {
	users   []string
	rooms   []string
	roles   []role
	members [][]int // by room
	inRooms [][]int // by user

	private map[int]door // by room
}

// door is who manages a private room, and whom: both are members.
type door struct {
	moderator int
	suspects  []int
}

// random gives one of the run's independent sequences.
func random(seed, stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, stream)) //nolint:gosec // repeatable, not secret
}

// Streams of random, beyond those of the clients (their index).
const (
	streamPlan = 1<<32 + iota
	streamGenerator
	streamActs
)

func makePlan(seed uint64, clients, rooms int, private bool) plan {
	r := random(seed, streamPlan)
	p := plan{
		users: make([]string, clients), rooms: make([]string, rooms), roles: make([]role, clients),
		members: make([][]int, rooms), inRooms: make([][]int, clients),
	}
	for i := range p.users {
		p.users[i] = fmt.Sprintf("u%x-%03d", seed, i)
	}
	for i := range p.rooms {
		p.rooms[i] = fmt.Sprintf("r%x-%02d", seed, i)
		if i%10 == 7 { // all of this is legal in an id, and none of it in a subject
			p.rooms[i] += " tea.*.> $茶"
		}
	}
	p.assignRoles(r)
	p.assignRooms(r)
	if private {
		p.assignDoors()
	}
	return p
}

func (p *plan) assignRoles(r *rand.Rand) {
	order := r.Perm(len(p.users))
	next := func(percent int, set func(*role)) {
		n := min(max(1, len(p.users)*percent/100), len(order))
		for _, user := range order[:n] {
			set(&p.roles[user])
		}
		order = order[n:]
	}
	next(slowPercent, func(o *role) { o.slow = true })
	next(outcastPercent, func(o *role) { o.outcast = true })
	next(wandererPercent, func(o *role) { o.wanderer = true })
	next(pollingPercent, func(o *role) { o.polling = true })
	next(refresherPercent, func(o *role) { o.refresher = true })
	next(accountPercent, func(o *role) { o.refresher, o.account = true, true })
	next(severalPercent, func(o *role) { o.several = true })
	next(absentPercent, func(o *role) { o.absent = true })
	for _, user := range order[:min(observers, len(order))] {
		p.roles[user].observer = true
	}
	order = order[min(observers, len(order)):]
	next(listenerPercent, func(o *role) { o.listener = true })
	for i := range p.roles {
		p.roles[i].reader = r.IntN(100) < readerPercent
	}
}

// assignRooms gives everybody a room, the hot room its members (the slow ones among them), and then fills the others up.
func (p *plan) assignRooms(r *rand.Rand) {
	if len(p.rooms) > 1 {
		for user := range p.users {
			p.enter(user, 1+user%(len(p.rooms)-1))
		}
	}
	order := r.Perm(len(p.users))
	slices.SortStableFunc(order, func(a, b int) int { return boolOrder(p.roles[a].slow, p.roles[b].slow) })
	hot := min(hotMembers, len(order))
	if len(p.rooms) == 1 {
		hot = len(order)
	}
	for _, user := range order[:hot] {
		p.enter(user, 0)
	}
	for room := 1; room < len(p.rooms); room++ {
		for try := 0; len(p.members[room]) < roomMembers && try < 10*len(p.users); try++ {
			p.enter(r.IntN(len(p.users)), room)
		}
	}
}

// One room in so many is private, if its members can do without another part.
const (
	privateFirst, privateEvery = 2, 3
	maxSuspects                = 3
)

// assignDoors makes rooms private. The hot room is public.
func (p *plan) assignDoors() {
	p.private = make(map[int]door)
	for room := privateFirst; room < len(p.rooms); room += privateEvery {
		var free []int
		for _, user := range p.members[room] {
			if p.roles[user].plain() && len(free) <= maxSuspects {
				free = append(free, user)
			}
		}
		if len(free) < 2 {
			continue
		}
		p.private[room] = door{free[0], free[1:]}
		p.roles[free[0]].moderator = true
		for _, user := range free[1:] {
			p.roles[user].suspect = true
		}
	}
}

// moderates tells who manages a private room.
func (p *plan) moderates(user, room int) bool {
	door, private := p.private[room]
	return private && door.moderator == user
}

func (p *plan) isMember(user, room int) bool { return slices.Contains(p.inRooms[user], room) }

func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func (p *plan) enter(user, room int) {
	if len(p.inRooms[user]) < maxRooms && !slices.Contains(p.inRooms[user], room) {
		p.inRooms[user] = append(p.inRooms[user], room)
		p.members[room] = append(p.members[room], user)
	}
}

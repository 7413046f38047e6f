package usecases

import (
	"context"
	"errors"
	"time"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
)

// What a Store says about a write that did not succeed. Everything else that is not a fault is unexpected.
var (
	// ErrUnavailable: nothing was written; a retry may succeed.
	ErrUnavailable = errors.New("store unavailable")
	// ErrUnknown: the connection was lost at COMMIT; the write may have happened. Committing the same Transaction again is
	// safe: it finds what the lost try wrote.
	ErrUnknown = errors.New("outcome of commit unknown")
	// ErrConflict: another writer came first; nothing was written; commit the Transaction again at once.
	ErrConflict = errors.New("write conflict")
)

// View is what a room looks like to one user, in one snapshot.
type View struct {
	access.Standing

	Head     uint64
	Messages []chat.Message // oldest first; of a member only
	HasMore  bool
	Newer    *bool                // whether there are newer ones, of a page around a message
	Typing   []chat.TypingStarted // by others, when the user joins; not in the Store
}

// Page selects messages of a room. With After, the oldest after it; otherwise the newest, before Before if that is given.
type Page struct {
	Before, After *uint64
	Around        *uint64 // in its middle; not for a Store
	Limit         int
	Granted       access.Rights // what who asks brings along
}

// RoomSummary is a line of a user's room list.
type RoomSummary struct {
	Own // what the room is to the user

	Room    chat.RoomID
	Name    string
	Kind    access.Kind
	Role    access.Role
	ByToken bool // the membership came by a claim of a token
	Head    uint64
	N       uint64 // how many messages it has had
	Last    *chat.Message
}

// Receipt says that a user has read a room up to a message.
type Receipt struct {
	chat.Membership

	Granted access.Rights // what who asks brings along
	Message chat.MessageID
	BySeq   bool      // without a Message: up to the last one that is not behind Seq
	Seq     uint64    // up to 53 bits
	Until   time.Time // when who asks gives it up: a call that has it begins nothing after that; zero = not, or nobody knows
}

// Head is where a room stands, and whether a user is a member there.
type Head struct {
	Seq             uint64
	Member, ByToken bool
}

// ReadOutcome is what became of a Receipt.
type ReadOutcome struct {
	access.Standing

	MessageExists bool
	Moved         bool           // false: the user had read that far already
	Marked        bool           // the user's marker may have moved
	Shown         bool           // it Moved, and the room has few enough members for the others to be told
	Message       chat.MessageID // that was read, where it Moved
	Marker        chat.Marker
}

// NotificationsRead says which notifications a user has read.
type NotificationsRead struct {
	User chat.UserID
	IDs  []NotificationID
}

// Store is the record of everything. Its methods return fault Unavailable or ErrUnavailable while PostgreSQL is away.
type Store interface {
	// Prepare readies commands to be written in one transaction, in their order. Nothing is written before Commit.
	Prepare(commands []rules.Command) Transaction
	// View reads head, role and messages of a room in one snapshot.
	View(ctx context.Context, room chat.RoomID, user chat.UserID, page Page) (View, error)
	// Messages reads some messages of a room, by sequence; those that there are not are left out.
	Messages(ctx context.Context, room chat.RoomID, seqs []uint64) ([]chat.Message, error)
	// Changes finds the messages that are new or have changed since a sequence.
	Changes(ctx context.Context, room chat.RoomID, since uint64, limit int) (Changes, error)
	// Former reads what a message was before its last edits, the oldest first.
	Former(ctx context.Context, room chat.RoomID, seq uint64, limit int) ([]FormerMessage, error)
	// Mine tells with which keys a user has reacted to some messages of a room, by sequence.
	Mine(ctx context.Context, m chat.Membership, seqs []uint64) (map[uint64][]string, error)
	// Pins lists the pinned messages of a room behind a sequence, by sequence.
	Pins(ctx context.Context, room chat.RoomID, after uint64, limit int) ([]chat.Message, error)
	// Events reads the durable events after a sequence up to another (0 = head), without holes, and the head.
	Events(ctx context.Context, room chat.RoomID, after, to uint64, limit int) ([]chat.EncodedEvent, uint64, error)
	// Heads tells where rooms stand, and whether a user, if one is given, is a member of each; unknown rooms are left out.
	Heads(ctx context.Context, rooms []chat.RoomID, of chat.UserID) (map[chat.RoomID]Head, error)
	// LogEvents reads facts of a user's log and its head; where it does not have them all, one LogReset at its head.
	LogEvents(ctx context.Context, user chat.UserID, page chat.LogPage) ([]chat.EncodedEvent, uint64, error)
	// LogHeads reads the last sequences of users' logs; those that were never told anything are left out.
	LogHeads(ctx context.Context, users []chat.UserID) (map[chat.UserID]uint64, error)
	// GrownLogs lists the users whose logs were told something after a time by the database's clock, up to a limit of facts.
	GrownLogs(ctx context.Context, since time.Time, limit int) (chat.Grown, error)
	// Own reads what a room is to a member of it.
	Own(ctx context.Context, m chat.Membership) (Own, error)
	// CountBlocks tells how many users a user blocks, as far as most.
	CountBlocks(ctx context.Context, user chat.UserID, most int) (int, error)
	// Blocks lists whom a user blocks, by user id, behind a user, limit at most.
	Blocks(ctx context.Context, user, after chat.UserID, limit int) ([]Blocked, error)
	// Invitation finds what is kept of an invite.
	Invitation(ctx context.Context, hash chat.InviteHash) (i chat.Invitation, ok bool, err error)
	// CountInvites tells how many invitations of a room are good; it deletes some that are not.
	CountInvites(ctx context.Context, room chat.RoomID) (int, error)
	// Invites lists the invitations of a room that are good, by their hashes, behind one, limit at most.
	Invites(ctx context.Context, room chat.RoomID, after chat.InviteHash, limit int) ([]chat.Invitation, error)
	// Answer finds the answer that is kept of a request with a key.
	Answer(ctx context.Context, key rules.KeyID) (a rules.Answer, ok bool, err error)
	// Farewell tells members of a deleted room of it by their logs, as many as one transaction may. The others are told without being asked for.
	Farewell(ctx context.Context, room chat.RoomID) (chat.Outgoing, error)
	// Members lists the users of a room, in order.
	Members(ctx context.Context, room chat.RoomID) ([]chat.UserID, error)
	// MemberList lists members of a room with what there is to say of each.
	MemberList(ctx context.Context, room chat.RoomID, page MembersPage) (MemberList, error)
	// Roommates gives those of the users who share a room with a user. Of the rooms where it is a member by a token only some count.
	Roommates(ctx context.Context, of chat.UserID, users []chat.UserID, opened []chat.RoomID) ([]chat.UserID, error)
	// TokenRooms lists the rooms where a user is a member by a token.
	TokenRooms(ctx context.Context, of chat.UserID) ([]chat.RoomID, error)
	// Standing tells what there is between a user and a room, and the name of a member.
	Standing(ctx context.Context, m chat.Membership) (access.Standing, chat.Name, error)
	// Rename stores names that have changed, for all rooms of their users; older ones than it knows change nothing.
	Rename(ctx context.Context, names []chat.UserName) error
	// Room reads what a room is, and what there is between it and a user with what it brings along: RoomInfo is for those who may Look.
	Room(ctx context.Context, m chat.Membership, granted access.Rights) (chat.RoomInfo, access.Standing, error)
	// Rooms lists a user's rooms, the last active first.
	Rooms(ctx context.Context, user chat.UserID, page RoomsPage) (RoomList, error)
	// AllRooms lists the rooms of some kinds, by id, and one room more than is wanted where there are more.
	AllRooms(ctx context.Context, page AllRoomsPage) ([]ListedRoom, error)
	// MarkRead moves receipts forward, as if one came after the other. The outcomes go with the receipts by index.
	MarkRead(ctx context.Context, receipts []Receipt) ([]ReadOutcome, error)
	// Marker reads how far a member has read; zero for others.
	Marker(ctx context.Context, m chat.Membership) (chat.Marker, error)
	// SetBack moves the marker of a member to a sequence, unless it is later than until, and has what the member said so far not move it.
	SetBack(ctx context.Context, m chat.Membership, seq uint64, until time.Time) error
	// Mentions lists messages that mention a user or the whole room, in rooms in which the user is, the newest first.
	Mentions(ctx context.Context, user chat.UserID, after MentionsCursor, limit int) ([]Mention, error)
	// Readers lists the receipts of members in one snapshot; to one who is no member only that.
	Readers(ctx context.Context, as chat.Membership, page ReadersPage) (Readers, error)
	// Audit lists what moderators did, the newest first, and one entry more than is wanted where there are more.
	Audit(ctx context.Context, page AuditPage) ([]AuditEntry, error)
	// Restricted lists who is banned or muted, and one user more than is wanted where there are more.
	Restricted(ctx context.Context, room chat.RoomID, page RestrictedPage) ([]Restricted, error)

	// AddNotification stores it; with an idempotency key that the user has already, it returns the first one and false.
	AddNotification(ctx context.Context, n Notification, idempotencyKey string) (NotificationID, bool, error)
	// Notifications lists a page, newest first, and counts the unread ones (at most 1000).
	Notifications(ctx context.Context, user chat.UserID, before *NotificationID, limit int) ([]Notification, int, error)
	// NotificationHead tells when the user's newest notification was stored; zero = there is none.
	NotificationHead(ctx context.Context, user chat.UserID) (time.Time, error)
	// MarkNotifications marks notifications as read, and counts for each entry the unread ones that its user has left then.
	MarkNotifications(ctx context.Context, read []NotificationsRead) ([]int, error)
}

// Transaction is commands on their way into the Store. It is used by one goroutine.
type Transaction interface {
	// Commit writes what Decide makes of the commands. The outcomes go with the commands by index; the Outgoing has no events
	// when nothing changed. An error means: see ErrUnavailable, ErrUnknown, ErrConflict. After these Commit may be called again: it
	// knows what the tries before may have written.
	Commit(ctx context.Context) ([]rules.Outcome, chat.Outgoing, error)
	// Alone gives one of the commands, by index, a Transaction of its own, which knows the same of earlier tries.
	Alone(index int) Transaction
}

// Publisher makes events reach the gateways. None of its methods waits for the network.
type Publisher interface {
	// Committed publishes the events of a committed transaction, in order. It cannot fail: what does not get through
	// stays in the outbox.
	Committed(out chat.Outgoing)
	// Erase has the stream forget soon what was deleted.
	Erase()
	// Ephemeral publishes an event that is not stored.
	Ephemeral(event chat.RoomEvent) error
	// Broadcast publishes to every socket of a namespace.
	Broadcast(namespace string, emit chat.Emit, exceptSocket string) error
	// Notified publishes a notification to the user's sockets.
	Notified(n Notification) error
	// NotificationsRead publishes to the user's sockets, but one, what the user has read, and how many are left unread.
	NotificationsRead(read NotificationsRead, unread int, exceptSocket string) error
}

// Observer is told about every transaction of the Writer.
type Observer interface {
	Batch(size int, took time.Duration)
}

// Evictor takes users out of a room on all gateways.
type Evictor interface {
	// Evict has every gateway let go of the users' sockets in a room, as of the event with a sequence, and every replica forget what it
	// remembers of the users there. It returns when all gateways that live have done so, or when those that have not are not heard of
	// in time: these are cut off, and do it before they deliver anything else. Without users the replicas forget the room.
	Evict(ctx context.Context, room chat.RoomID, users []chat.UserID, seq uint64)
}

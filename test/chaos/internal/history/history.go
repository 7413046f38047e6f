// Package history is what a run of the rig leaves behind: what each client did and saw, what the rig did to the system, what
// the processes used, and what the database held in the end. The workload and the cluster write it, the checker reads it.
//
// All times are nanoseconds of one monotonic clock since the run's start, all of them taken in the rig's own process.
package history

import "time"

// Time is a moment of the run: the time since its start.
type Time = time.Duration

// History is one run.
type History struct {
	Config Config `json:"config"`

	Users []User `json:"users"` // by index: what User fields elsewhere refer to
	Rooms []Room `json:"rooms"` // by index: what Room fields elsewhere refer to

	Conns      []Conn     `json:"conns"`      // by start
	Sends      []Send     `json:"sends"`      // by invoke
	Views      []View     `json:"views"`      // by start
	Deliveries []Delivery `json:"deliveries"` // by time; within a client, in the order received
	Heard      []Heard    `json:"heard"`      // by time; within a device, in the order received
	Online     []Online   `json:"online"`     // by time
	Acts       []Act      `json:"acts"`       // by invoke
	States     []State    `json:"states"`     // at the end
	Badges     []Badge    `json:"badges"`     // at the end
	Inboxes    []Inbox    `json:"inboxes"`    // at the end
	Faults     []Fault    `json:"faults"`     // by start
	Stalls     []Stall    `json:"stalls"`     // by start
	Samples    []Sample   `json:"samples"`    // by time
	Settings   []Setting  `json:"settings"`

	Keys int `json:"keys"` // that signed tokens of clients: one, and one more for each rotation that they saw

	Log   []Event `json:"log"`   // the database: durable events of all rooms, by room and seq
	Leaks []Leak  `json:"leaks"` // what was found of deleted messages, in the database and the stream

	Receipts []Receipt `json:"receipts"` // the database: how far members have read

	Told []Told `json:"told"` // the database: what is kept of the logs of all users, by user and seq

	// Streamed is what the stream ROOMS held in the end, by room and sequence; StreamSince is when its present incarnation (or
	// the store under it) began: what was committed before may be missing.
	Streamed    []Range `json:"streamed"`
	StreamSince Time    `json:"streamSince"`

	// Problems are what the rig met that no invariant speaks of: processes that ended by themselves, clients that did not come to
	// rest, packets that nobody can read, a database that could not be read. A run with any of them is not a good one.
	Problems []string `json:"problems,omitempty"`
	NoLog    bool     `json:"noLog,omitempty"` // the database could not be read: Log is not what it holds
}

// Config is how the run was made, and its phases: load from 0 to Healed with faults until then; from Healed load without
// faults until Stopped; from Stopped no new sends until End.
type Config struct {
	Seed     uint64        `json:"seed"`
	Clients  int           `json:"clients"`
	Rate     int           `json:"rate"` // sends a second, of all clients
	Copies   int           `json:"copies"`
	Nodes    int           `json:"nodes"` // of NATS
	Duration time.Duration `json:"duration"`
	Nemeses  []string      `json:"nemeses"`
	Sabotage string        `json:"sabotage,omitempty"`
	// SendQueue is SEND_QUEUE_BYTES of the gateways.
	SendQueue int  `json:"sendQueue,omitempty"`
	Healed    Time `json:"healed"`
	Stopped   Time `json:"stopped"`
	End       Time `json:"end"`
}

// User is one account, at work through one client (Index in History.Users).
type User struct {
	ID      string `json:"id"`
	Slow    bool   `json:"slow,omitempty"`    // a client that the rig makes stop reading
	Outcast bool   `json:"outcast,omitempty"` // leaves its rooms in the middle of the run and stays connected
	Revoked Time   `json:"revoked,omitempty"` // when the answer to the revocation of its tokens came; 0: never
	LogSeq  uint64 `json:"logSeq,omitempty"`  // user_logs.last_seq of the database, at the end
}

// Room is one room.
type Room struct {
	ID      string `json:"id"`
	Hot     bool   `json:"hot,omitempty"`
	LastSeq uint64 `json:"lastSeq"` // rooms.last_seq of the database, at the end; 0: the room is not there
	Count   uint64 `json:"count"`   // rooms.message_count of the database, at the end
}

// DeviceNumbers is between the Numbers of the connections of one device and those of the next one.
const DeviceNumbers = 1_000_000

// Conn is one connection of a client, from the CONNECT reply to the end of the transport.
type Conn struct {
	User      int    `json:"user"`
	Device    int    `json:"device,omitempty"` // 0: the client; others of the user's only hear its log
	Number    int    `json:"number"`           // of this device's connections, from Device × DeviceNumbers + 1
	Socket    string `json:"socket"`           // the Socket.IO sid
	Gateway   int    `json:"gateway"`
	Polling   bool   `json:"polling,omitempty"`
	Dialled   Time   `json:"dialled"`
	Up        Time   `json:"up"`
	Down      Time   `json:"down"` // 0: still up at the end
	Recovered bool   `json:"recovered,omitempty"`
	ByClient  bool   `json:"byClient,omitempty"` // the client (the rig) ended it
	Reason    string `json:"reason,omitempty"`   // why it ended
	// Busy is since when, at its end, it had not been without an emit that awaits its ack for IdleLeast; 0: it had none.
	Busy    Time `json:"busy,omitempty"`
	Receipt Time `json:"receipt,omitempty"` // when the last emit without an ack went out; 0: none did
}

// IdleLeast is for how long a connection has to be without anything in flight for its gateway to notice, which looks every few milliseconds.
const IdleLeast = 5 * time.Millisecond

// Outcome is how an attempt ended.
type Outcome string

// The outcomes. Fail means that the server said no, which for a retryable code still may not mean that nothing happened:
// `timeout` is recorded as Unknown.
const (
	OK      Outcome = "ok"
	Fail    Outcome = "fail"
	Unknown Outcome = "unknown" // no answer, or the connection ended, or the code `timeout`
)

// Send is one attempt to send one message. Attempts of the same message share ID.
type Send struct {
	User    int     `json:"user"`
	Conn    int     `json:"conn"` // Conn.Number
	Room    int     `json:"room"`
	ID      string  `json:"id"`   // clientMsgId; unique in the run
	Body    uint64  `json:"body"` // Hash of the content
	Asides  Asides  `json:"asides,omitzero"`
	Order   int     `json:"order"` // the sender's messages in the order first invoked, from 1; across its rooms
	Invoke  Time    `json:"invoke"`
	Return  Time    `json:"return"` // of an Unknown: when the client gave up
	Outcome Outcome `json:"outcome"`
	Seq     uint64  `json:"seq,omitempty"`     // of OK
	Message string  `json:"message,omitempty"` // id, of OK
	Code    string  `json:"code,omitempty"`    // of Fail, and of Unknown with a code
	Retry   int     `json:"retry,omitempty"`   // retryAfterMs
}

// ReplyGone is the Code of a send that was refused because the message that it answers is deleted. The fault's own code does not tell that.
const ReplyGone = "reply_gone"

// Asides are what a message has beside its content.
type Asides struct {
	Reply    uint64 `json:"reply,omitempty"`    // seq of the message that it answers
	Mentions []int  `json:"mentions,omitempty"` // users, in the order said
	Everyone bool   `json:"everyone,omitempty"` // it mentions the whole room
}

// View is a stretch of one client's sight of one room: from a room:join that was acked until a leave, or until the connection
// ended without the next one being recovered. A recovered connection continues the view; a room:join with `since` on a fresh
// connection continues it also, as long as its history is contiguous with what was seen (Since > 0).
type View struct {
	User   int    `json:"user"`
	Room   int    `json:"room"`
	Conn   int    `json:"conn"`            // the connection that joined
	Since  uint64 `json:"since,omitempty"` // the join's `since`
	Head   uint64 `json:"head"`            // seq of the join's ack
	Start  Time   `json:"start"`           // the join's ack
	Invoke Time   `json:"invoke"`          // the join's request
	End    Time   `json:"end"`             // 0: lasts
	// Removing is when a moderator began to take the client out of the room, which ended the view; 0: none did. What happened before may
	// arrive after End.
	Removing Time `json:"removing,omitempty"`
}

// Source is how an event reached a client.
type Source uint8

// The sources.
const (
	Live     Source = iota // an event
	Replayed               // an event, between a recovered CONNECT and its reply's follow-up; cannot always be told from Live
	Joined                 // part of room:history: messages only, other events of the room are not in it
)

// Delivery is one durable event as one client saw it. An event that shows a message shows it as it was when the event was read: Version says
// which state that is, and Body what the message said then.
type Delivery struct {
	At      Time   `json:"at"`
	Hash    uint64 `json:"hash"`           // EventHash of what was received
	Body    uint64 `json:"body,omitempty"` // Hash of the content
	Version uint32 `json:"version,omitempty"`
	Seq     uint32 `json:"seq"`
	User    int32  `json:"user"`
	Conn    int32  `json:"conn"`
	Room    int16  `json:"room"`
	Source  Source `json:"source"`
}

// Event is one durable event in the database.
type Event struct {
	Hash        uint64 `json:"hash"` // EventHash
	Body        uint64 `json:"body"` // Hash of the content of a message, as it is in the end
	Seq         uint64 `json:"seq"`
	Room        int    `json:"room"`
	User        int    `json:"user"` // who caused it; -1: not of this run
	Kind        string `json:"kind"` // message:new, room:user-joined, …
	ClientMsgID string `json:"clientMsgId,omitempty"`
	Message     string `json:"message,omitempty"` // id
	Except      string `json:"except,omitempty"`  // sid that does not get it

	// Of a message, as it is in the end.
	Digest  uint64    `json:"digest,omitempty"`  // roomstate.Digest.Hash of its row
	Version uint64    `json:"version,omitempty"` // `changed ?? seq` of its row
	Deleted bool      `json:"deleted,omitempty"`
	N       uint64    `json:"n,omitempty"`
	Lead    uint64    `json:"lead,omitempty"` // Lead of the content
	Asides  Asides    `json:"asides,omitzero"`
	Counts  []Count   `json:"counts,omitempty"`  // reactions as they stand in the row
	Reacted []Reacted `json:"reacted,omitempty"` // reactions one by one, as they stand in their own table

	// Of what happened to a message.
	About   uint64   `json:"about,omitempty"`   // its seq
	Changes []Change `json:"changes,omitempty"` // of message:reactions
}

// Count is how many users have reacted with a key.
type Count struct {
	Key string `json:"key"`
	N   int    `json:"count"`
}

// Reacted is one reaction. User is -1 of one who is not of this run.
type Reacted struct {
	User int    `json:"user"`
	Key  string `json:"key"`
}

// Change is one reaction that came or went.
type Change struct {
	Reacted

	On bool `json:"on"`
}

// Act is one attempt to do something with a message that was sent. Attempts of the same act share Order.
type Act struct {
	User    int     `json:"user"`
	Conn    int     `json:"conn"`
	Room    int     `json:"room"`
	Kind    string  `json:"kind"`              // the client event: message:edit, message:delete, message:react, …
	Target  uint64  `json:"target"`            // seq of the message
	Key     string  `json:"key,omitempty"`     // of a reaction
	Body    uint64  `json:"body,omitempty"`    // Hash of what an edit says; unique in the run
	Label   string  `json:"label,omitempty"`   // with which that begins
	Renames bool    `json:"renames,omitempty"` // an edit that also changes whom the message mentions
	Order   int     `json:"order"`             // the user's acts in the order first invoked, from 1: one after the other
	Invoke  Time    `json:"invoke"`
	Return  Time    `json:"return"`
	Outcome Outcome `json:"outcome"`
	Seq     uint64  `json:"seq,omitempty"` // of OK; 0: there was nothing to do
	Code    string  `json:"code,omitempty"`
}

// Kept are the ways by which a State came about.
const (
	KeptLive    = "live"    // a client: what it saw live, and what it asked for after losses
	KeptHistory = "history" // a stranger to the room who reads all of it by message:history
	KeptChanges = "changes" // the same by message:changes from 0
)

// State is what a client has of a room's messages in the end.
type State struct {
	User     int      `json:"user"`
	Room     int      `json:"room"`
	Kept     string   `json:"kept"`
	Since    uint64   `json:"since"` // all messages with a higher seq are there
	Messages []Digest `json:"messages"`
}

// Digest is roomstate.Digest.
type Digest struct {
	Hash    uint64 `json:"hash"`
	Seq     uint32 `json:"seq"`
	Version uint32 `json:"version"`
}

// Badge is what one device shows of how far its user has read a room, in the end.
type Badge struct {
	User   int    `json:"user"`
	Device int    `json:"device"`
	Room   int    `json:"room"`
	Seq    uint64 `json:"seq"` // of the marker that room:list gives this device
	N      uint64 `json:"n"`
	Unread uint64 `json:"unread"`

	Mentions uint64 `json:"mentions"`
	// What the device has without asking, by me:marker and, where it is in the room, by what the user said since: 0 = nothing was told.
	Told    uint64 `json:"told,omitempty"`    // seq
	ToldN   uint64 `json:"toldN,omitempty"`   // n
	Read    uint64 `json:"read,omitempty"`    // n, what was said since included
	HeadN   uint64 `json:"headN,omitempty"`   // n of the last message that the device has
	Settled bool   `json:"settled,omitempty"` // the device is in the room and has all of it
}

// Inbox is what one device shows of its user's rooms in the end, without being in them: by inbox:state, and by what it was told since.
type Inbox struct {
	User   int  `json:"user"`
	Device int  `json:"device"`
	Fresh  bool `json:"fresh,omitempty"` // by the inbox:state of a new connection alone
	// Rooms of this run; others are none of the user's.
	Rooms []InboxRoom `json:"rooms"`
}

// InboxRoom is how an inbox shows a room.
type InboxRoom struct {
	Room     int    `json:"room"`
	Seq      uint64 `json:"seq"`
	N        uint64 `json:"n"`
	Last     string `json:"last,omitempty"` // id of the last message
	Lead     uint64 `json:"lead,omitempty"` // Lead of its preview
	Deleted  bool   `json:"deleted,omitempty"`
	Unread   uint64 `json:"unread"`
	Mentions uint64 `json:"mentions"`
	// At is up to which event of the room the device knows how far the user has read, and whom messages mention; 0 = it does not know that.
	At uint64 `json:"at,omitempty"`
}

// Receipt is how far a member has read a room, as the database has it.
type Receipt struct {
	User     int     `json:"user"`
	Room     int     `json:"room"`
	Read     uint64  `json:"read"`               // seq
	Back     *uint64 `json:"back,omitempty"`     // seq to which the marker was set back, which counts in place of Read; nil = it was not
	BackHead uint64  `json:"backHead,omitempty"` // the room's last seq when it was: what the user said up to it does not move the marker
}

// Leak is a place in which a deleted message was found.
type Leak struct {
	Room  int    `json:"room"`
	Seq   uint64 `json:"seq"`
	Where string `json:"where"` // a table, or the stream
}

// Heard is one event of a user's own log as one of its devices got it.
type Heard struct {
	At     Time   `json:"at"`
	Hash   uint64 `json:"hash"` // LogHash of what was received
	Seq    uint64 `json:"seq"`  // its useq
	Kind   string `json:"kind"` // me:room-added, …
	User   int    `json:"user"`
	Device int    `json:"device,omitempty"`
	Conn   int    `json:"conn"` // Conn.Number
}

// Told is one event of a user's own log in the database.
type Told struct {
	At   Time   `json:"at"`   // when it was stored
	Hash uint64 `json:"hash"` // LogHash
	Seq  uint64 `json:"seq"`
	Kind string `json:"kind"`
	User int    `json:"user"`
	Room int    `json:"room"` // -1: not of this run
}

// Online is what one observer was told by users:online: which of the run's users were in the list.
type Online struct {
	At    Time  `json:"at"`
	User  int   `json:"user"`  // the observer
	Users []int `json:"users"` // ascending
}

// Fault is something the rig did.
type Fault struct {
	Nemesis string `json:"nemesis"` // process, nats, postgres, network, slow, disk, storm, time, drain
	Action  string `json:"action"`  // "kill -9", "stop for 12 s", …
	Target  string `json:"target"`  // process or link
	Start   Time   `json:"start"`
	End     Time   `json:"end"` // the disturbance is over: process started again, link healed
	// Service is when all readiness endpoints said ready again after End; 0: not noticed before the next fault.
	Service Time `json:"service,omitempty"`
	// Users are the clients that the fault itself touched (storm, slow, one-byte slices, revoked), as indexes.
	Users []int  `json:"users,omitempty"`
	Error string `json:"error,omitempty"` // the rig could not do it: it disturbed nothing
	// Unhealed is what went wrong at its end: the process did not end in order after SIGTERM, or what was done could not be undone.
	Unhealed string `json:"unhealed,omitempty"`
}

// Stall is a time in which the rig's own process did not run, and so the machine: nothing that the rig did.
type Stall struct {
	Start Time `json:"start"`
	End   Time `json:"end"`
}

// Sample is one look at one process.
type Sample struct {
	At      Time               `json:"at"`
	Process string             `json:"process"` // gateway-0, chat-1, nats-2, postgres, …
	PID     int                `json:"pid"`
	RSS     int64              `json:"rss"`              // bytes
	CPU     time.Duration      `json:"cpu"`              // used since the process began
	Gauges  map[string]float64 `json:"gauges,omitempty"` // queues and counts of its /metrics
}

// Setting is a setting of the database read at run time.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Range is the events From to To of a room, both included.
type Range struct {
	Room int    `json:"room"`
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/subject"
	"github.com/starling-chat/starling/test/chaos/internal/history"
	"github.com/starling-chat/starling/test/internal/launch"
)

const (
	streamReaders = 16
	streamTimeout = 15 * time.Second // until the stream has a leader
	streamPause   = 500 * time.Millisecond
	natsTimeout   = 2 * time.Second // to connect
)

// DumpStream reads what the stream holds into h.Streamed; start is the run's. It asks the stream's leader for every message:
// a consumer, or a direct get, may meet a server whose copy was left behind.
func (c *Cluster) DumpStream(ctx context.Context, h *history.History, start time.Time) error {
	var servers []string
	for _, node := range c.NATS {
		servers = append(servers, "nats://"+node.client)
	}
	nc, err := nats.Connect(strings.Join(servers, ","), nats.UserInfo(natsUser, natsPassword), nats.Timeout(natsTimeout))
	if err != nil {
		return fmt.Errorf("read the stream: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("read the stream: %w", err)
	}
	var stream jetstream.Stream
	leader, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	if err := launch.Await(leader, streamPause, func(ctx context.Context) (err error) {
		stream, err = js.Stream(ctx, subject.RoomsStream)
		return err
	}); err != nil {
		return fmt.Errorf("read the stream: %w", err)
	}
	info := stream.CachedInfo()
	h.StreamSince = max(info.Created.Sub(start), 0)
	r := streamReader{nc: nc, rooms: map[string]int{}, gone: deleted(h), seen: map[int][]uint64{}, last: info.State.LastSeq}
	r.next.Store(max(1, info.State.FirstSeq)) // an empty stream has none
	for i, room := range h.Rooms {
		r.rooms[room.ID] = i
	}
	var all sync.WaitGroup
	for range streamReaders {
		all.Go(func() { r.read(ctx) })
	}
	all.Wait()
	h.Streamed = []history.Range{} // read, whatever is in it
	for room := range h.Rooms {
		h.Streamed = append(h.Streamed, ranges(room, r.seen[room])...)
	}
	h.Leaks = append(h.Leaks, r.leaks...)
	return r.err
}

// streamReader reads messages of the stream, several at a time.
type streamReader struct {
	nc    *nats.Conn
	rooms map[string]int
	gone  map[string]history.Leak
	last  uint64
	next  atomic.Uint64

	mu    sync.Mutex
	seen  map[int][]uint64 // guarded by mu: sequences, by room
	leaks []history.Leak   // guarded by mu
	err   error            // guarded by mu
}

func (r *streamReader) read(ctx context.Context) {
	for ctx.Err() == nil {
		seq := r.next.Add(1) - 1
		if seq > r.last {
			return
		}
		if err := r.one(ctx, seq); err != nil {
			r.mu.Lock()
			r.err = fmt.Errorf("read message %d of the stream: %w", seq, err)
			r.mu.Unlock()
			return
		}
	}
}

// noMessage is the code of a position that the stream does not have (any more).
const noMessage = 404

func (r *streamReader) one(ctx context.Context, seq uint64) error {
	answer, err := r.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+subject.RoomsStream, fmt.Appendf(nil, `{"seq":%d}`, seq))
	if err != nil {
		return err
	}
	var reply struct {
		Message struct {
			Data []byte `json:"data"`
		} `json:"message"`
		Error struct {
			Code        int    `json:"code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &reply); err != nil {
		return err
	}
	if reply.Error.Code == noMessage {
		return nil
	}
	if reply.Error.Code != 0 {
		return errors.New(reply.Error.Description)
	}
	var batch eventv1.RoomEventBatch
	if err := proto.Unmarshal(reply.Message.Data, &batch); err != nil {
		return err
	}
	found := leaks(r.gone, "the stream", reply.Message.Data)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaks = append(r.leaks, found...)
	for _, e := range batch.GetEvents() {
		if room, ok := r.rooms[e.GetRoomId()]; ok {
			r.seen[room] = append(r.seen[room], e.GetSeq())
		}
	}
	return nil
}

// ranges sorts a room's sequences and joins neighbours.
func ranges(room int, seqs []uint64) (list []history.Range) {
	slices.Sort(seqs)
	for _, seq := range slices.Compact(seqs) {
		if n := len(list); n > 0 && list[n-1].To+1 == seq {
			list[n-1].To = seq
			continue
		}
		list = append(list, history.Range{Room: room, From: seq, To: seq})
	}
	return list
}

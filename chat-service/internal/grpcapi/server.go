package grpcapi

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/starling-chat/starling/chat-service/internal/access"
	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// Server implements chatv1.ChatServiceServer. Its errors are faults, which rpc turns into statuses.
type Server struct {
	chatv1.UnimplementedChatServiceServer

	service *usecases.Service
}

// Register has a gRPC server answer with the use cases.
func Register(to grpc.ServiceRegistrar, service *usecases.Service) {
	chatv1.RegisterChatServiceServer(to, NewServer(service))
	chatv1.RegisterRoomServiceServer(to, NewRooms(service))
	chatv1.RegisterMessageServiceServer(to, NewMessages(service))
}

// NewServer returns a Server on the use cases.
func NewServer(service *usecases.Service) *Server { return &Server{service: service} }

var _ chatv1.ChatServiceServer = (*Server)(nil)

// ListRooms answers for a user like the ack of room:list, and a backend as itself with all rooms.
func (s *Server) ListRooms(ctx context.Context, r *chatv1.ListRoomsRequest) (*chatv1.ListRoomsResponse, error) {
	who, err := asking(ctx, caller.ScopeRooms, r.GetAsUserId())
	if err != nil {
		return nil, err
	}
	limit, err := pageLimit(r.Limit)
	if err != nil {
		return nil, err
	}
	var kinds []access.Kind
	for _, kind := range r.GetKinds() {
		kinds = append(kinds, access.Kind(kind))
	}
	if who.User == chat.System {
		return s.listAllRooms(ctx, usecases.AllRoomsPage{After: chat.RoomID(r.GetAfter()), Kinds: kinds, Limit: limit})
	}
	page := usecases.RoomsPage{Kinds: kinds, Limit: limit}
	if r.After != nil || len(kinds) > 0 {
		page.Limit = cmp.Or(limit, usecases.MaxRoomsPage)
	}
	if r.GetAfter() != "" {
		if page.After, err = wire.ParseRoomsCursor(r.GetAfter()); err != nil {
			return nil, err
		}
	}
	rooms, err := s.service.Rooms(ctx, who, page)
	if err != nil {
		return nil, err
	}
	answer := &chatv1.ListRoomsResponse{Next: given(wire.RoomsCursor(rooms.Next)), Useq: &rooms.Useq}
	for i := range rooms.List {
		answer.Rooms = append(answer.Rooms, roomOf(&rooms.List[i]))
	}
	return answer, nil
}

func (s *Server) listAllRooms(ctx context.Context, page usecases.AllRoomsPage) (*chatv1.ListRoomsResponse, error) {
	if page.After != "" {
		if _, err := chat.ParseRoomID(string(page.After)); err != nil {
			return nil, fault.New(fault.Invalid, "after must be the id of a room")
		}
	}
	rooms, more, err := s.service.AllRooms(ctx, page)
	if err != nil {
		return nil, err
	}
	answer := &chatv1.ListRoomsResponse{}
	for i := range rooms {
		info := roomInfo(&rooms[i].RoomInfo)
		answer.Rooms = append(answer.Rooms, &chatv1.Room{RoomId: info.GetRoomId(), Name: rooms[i].Profile.Name, Seq: rooms[i].Head, Room: info})
	}
	if more {
		answer.Next = new(string(rooms[len(rooms)-1].Room))
	}
	return answer, nil
}

// ListMessages answers like the ack of message:history.
func (s *Server) ListMessages(ctx context.Context, r *chatv1.ListMessagesRequest) (*chatv1.ListMessagesResponse, error) {
	who, err := asking(ctx, caller.ScopeMessages, r.GetAsUserId())
	if err != nil {
		return nil, err
	}
	room, err := chat.ParseRoomID(r.GetRoomId())
	if err != nil {
		return nil, err
	}
	page := usecases.Page{Before: r.Before, After: r.After, Limit: int(min(r.GetLimit(), math.MaxInt32))}
	if err := cmp.Or(checkSequence("before", r.GetBefore()), checkSequence("after", r.GetAfter())); err != nil {
		return nil, err
	}
	if r.Limit != nil && page.Limit == 0 {
		return nil, fault.New(fault.Invalid, "limit must be a whole number from 1")
	}
	if r.Around != nil {
		around, err := placeOf("around", r.GetAround())
		if err != nil {
			return nil, err
		}
		page.Around = &around
	}
	view, err := s.service.History(ctx, who, room, page)
	if err != nil {
		return nil, err
	}
	return &chatv1.ListMessagesResponse{Messages: messagesOf(view.Messages), HasMore: view.HasMore, HasNewer: view.Newer}, nil
}

// ListReaders answers like the ack of message:readers.
func (s *Server) ListReaders(ctx context.Context, r *chatv1.ListReadersRequest) (*chatv1.ListReadersResponse, error) {
	who, err := asking(ctx, caller.ScopeMessages, r.GetAsUserId())
	if err != nil {
		return nil, err
	}
	room, err := chat.ParseRoomID(r.GetRoomId())
	if err != nil {
		return nil, err
	}
	page := usecases.ReadersPage{After: chat.UserID(r.GetAfter()), Limit: int(min(r.GetLimit(), math.MaxInt32))}
	if r.Limit != nil && page.Limit == 0 {
		return nil, fault.New(fault.Invalid, "limit must be a whole number from 1")
	}
	if r.MessageId != nil {
		id, err := chat.ParseMessageID(r.GetMessageId())
		if err != nil {
			return nil, err
		}
		page.Message = &id
	}
	readers, err := s.service.Readers(ctx, who, room, page)
	if err != nil {
		return nil, err
	}
	answer := &chatv1.ListReadersResponse{Count: uint32(readers.Count)} //nolint:gosec // at most 10,000
	for _, reader := range readers.List {
		answer.Readers = append(answer.Readers, &chatv1.Reader{UserId: string(reader.User), Seq: reader.Seq})
	}
	if readers.HasMore {
		answer.Next = new(string(readers.List[len(readers.List)-1].User))
	}
	return answer, nil
}

// PostMessage stores a message in the name of a member or of the system.
func (s *Server) PostMessage(ctx context.Context, r *chatv1.PostMessageRequest) (*chatv1.PostMessageResponse, error) {
	if err := caller.RequireScope(ctx, caller.ScopeMessages); err != nil {
		return nil, err
	}
	room, err := chat.ParseRoomID(r.GetRoomId())
	if err != nil {
		return nil, err
	}
	user := chat.System
	if id := cmp.Or(r.GetUserId(), r.GetAsUserId()); id != "" {
		if user, err = chat.ParseUserID(id); err != nil {
			return nil, err
		}
	}
	if r.GetUserId() != "" && r.GetAsUserId() != "" && r.GetUserId() != r.GetAsUserId() {
		return nil, fault.New(fault.Invalid, "userId and asUserId must be the same user")
	}
	extras, err := extrasOf(r)
	if err != nil {
		return nil, err
	}
	o, err := s.service.Post(ctx, user, usecases.Draft{
		Room: room, Content: r.GetContent(), Type: r.GetType(), ClientMsgID: cmp.Or(r.GetClientMsgId(), caller.IdempotencyKey(ctx)), Extras: extras,
	})
	if err != nil {
		return nil, err
	}
	answer := &chatv1.PostMessageResponse{Id: o.ID.String(), Seq: o.Seq, CreatedAt: wire.Time(o.CreatedAt)}
	if o.N > 0 {
		answer.N = &o.N
	}
	return answer, nil
}

// Notify stores a notification and tells the user's sockets.
func (s *Server) Notify(ctx context.Context, r *chatv1.NotifyRequest) (*chatv1.NotifyResponse, error) {
	if err := caller.RequireScope(ctx, caller.ScopeNotifications); err != nil {
		return nil, err
	}
	user, err := chat.ParseUserID(r.GetUserId())
	if err != nil {
		return nil, err
	}
	n := usecases.Notification{User: user, Type: r.GetType(), Title: r.GetTitle(), Body: r.GetBody()}
	if n.Data, err = dataOf(r); err != nil {
		return nil, err
	}
	id, err := s.service.Notify(ctx, n, cmp.Or(r.GetIdempotencyKey(), caller.IdempotencyKey(ctx)))
	if err != nil {
		return nil, err
	}
	return &chatv1.NotifyResponse{Id: id.String()}, nil
}

// dataOf gives a notification's data, a JSON object, or nil: as text it is taken as it is, because a number in JSON may be more than
// one in protobuf.
func dataOf(r *chatv1.NotifyRequest) ([]byte, error) {
	switch {
	case len(r.GetDataJson()) > 0:
		return wire.Data(r.GetDataJson())
	case r.GetData() == nil:
		return nil, nil
	}
	data, err := protojson.Marshal(r.GetData())
	if err != nil {
		return nil, fault.New(fault.Invalid, "data must be an object")
	}
	return wire.Data(data)
}

// JoinRoom lets a socket into a room and gives what it has to see first.
func (s *Server) JoinRoom(ctx context.Context, r *chatv1.JoinRoomRequest) (*chatv1.JoinRoomResponse, error) {
	if r.GetEvent().GetIdentity().GetUserId() == "" {
		return nil, fault.New(fault.Unauthenticated, "Authentication required")
	}
	who, err := wire.SenderOf(r.GetEvent()).Caller()
	if err != nil {
		return nil, err
	}
	who.Asker = rules.AskedIn(ctx)
	join, err := wire.RoomJoin(r.GetEvent().GetArgs())
	if err != nil {
		return nil, err
	}
	view, err := s.service.Join(ctx, who, join)
	if err != nil {
		return nil, err
	}
	emits := []*eventv1.Emit{wire.HistoryEmit(view.Messages)}
	for _, typing := range view.Typing {
		emits = append(emits, wire.TypingEmit(join.Room, typing))
	}
	return &chatv1.JoinRoomResponse{
		RoomId: string(join.Room), Seq: view.Head, AckArgs: wire.JoinAck(join.Room, view), Emits: emits,
	}, nil
}

// roomOrLog checks what a gateway names.
func roomOrLog(id string) (chat.RoomID, error) {
	if user, ok := chat.UserOf(chat.RoomID(id)); ok {
		_, err := chat.ParseUserID(string(user))
		return chat.RoomID(id), err
	}
	return chat.ParseRoomID(id)
}

// ReadRoomEvents gives a gateway the events that it missed.
func (s *Server) ReadRoomEvents(ctx context.Context, r *chatv1.ReadRoomEventsRequest) (*chatv1.ReadRoomEventsResponse, error) {
	room, err := roomOrLog(r.GetRoomId())
	if err != nil {
		return nil, err
	}
	var since time.Time
	if t := r.GetStoredAfter(); t != nil {
		since = t.AsTime()
	}
	events, head, err := s.service.Events(ctx, room, r.GetAfterSeq(), r.GetToSeq(), since, int(min(r.GetLimit(), math.MaxInt32)))
	if err != nil {
		return nil, err
	}
	answer := &chatv1.ReadRoomEventsResponse{Head: head, Events: make([]*eventv1.RoomEvent, 0, len(events))}
	weight := 0
	for i, e := range events {
		if weight += len(e.Bytes); weight > usecases.MaxEventsWeight && i > 0 {
			break // the gateway sees by the head that there is more
		}
		event := &eventv1.RoomEvent{}
		if err := proto.Unmarshal(e.Bytes, event); err != nil {
			return nil, fmt.Errorf("read event %d of a room: %w", e.Seq, err)
		}
		answer.Events = append(answer.Events, event)
	}
	return answer, nil
}

// GetHeads gives a gateway the last sequences.
func (s *Server) GetHeads(ctx context.Context, r *chatv1.GetHeadsRequest) (*chatv1.GetHeadsResponse, error) {
	rooms := make([]chat.RoomID, len(r.GetRoomIds()))
	for i, id := range r.GetRoomIds() {
		room, err := roomOrLog(id)
		if err != nil {
			return nil, err
		}
		rooms[i] = room
	}
	who := usecases.Caller{User: chat.UserID(cmp.Or(r.GetAsUserId(), r.GetForUserId())), Grants: wire.Grants(r.GetGrants())}
	heads, err := s.service.Heads(ctx, rooms, who)
	if err != nil {
		return nil, err
	}
	answer := &chatv1.GetHeadsResponse{Heads: make(map[string]uint64, len(heads))}
	for id, head := range heads {
		if head.Member || r.GetAsUserId() == "" {
			answer.Heads[string(id)] = head.Seq
		}
		switch {
		case head.Member || r.GetForUserId() == "":
		case head.ByToken:
			answer.ClosedRoomIds = append(answer.ClosedRoomIds, string(id))
		default:
			answer.LeftRoomIds = append(answer.LeftRoomIds, string(id))
		}
	}
	return answer, nil
}

// ListLogHeads tells a gateway whose logs have grown.
func (s *Server) ListLogHeads(ctx context.Context, r *chatv1.ListLogHeadsRequest) (*chatv1.ListLogHeadsResponse, error) {
	grown, err := s.service.GrownLogs(ctx, r.GetSince().AsTime())
	if err != nil {
		return nil, err
	}
	answer := &chatv1.ListLogHeadsResponse{
		Heads: make(map[string]uint64, len(grown.Heads)), Until: timestamppb.New(grown.Until), More: grown.More,
	}
	for user, head := range grown.Heads {
		answer.Heads[string(user)] = head
	}
	return answer, nil
}

// ListMembers gives another service the members of a room of the asking user.
func (s *Server) ListMembers(ctx context.Context, r *chatv1.ListMembersRequest) (*chatv1.ListMembersResponse, error) {
	room, err := chat.ParseRoomID(r.GetRoomId())
	if err != nil {
		return nil, err
	}
	as, err := chat.ParseUserID(r.GetAsUserId())
	if err != nil {
		return nil, err
	}
	users, err := s.service.Members(ctx, usecases.Caller{User: as, Grants: wire.Grants(r.GetGrants())}, room)
	if err != nil {
		return nil, err
	}
	return &chatv1.ListMembersResponse{UserIds: idsOf(users)}, nil
}

// ListRoommates tells presence-service whom of some users a user shares a room with.
func (s *Server) ListRoommates(ctx context.Context, r *chatv1.ListRoommatesRequest) (*chatv1.ListRoommatesResponse, error) {
	of, err := chat.ParseUserID(r.GetUserId())
	if err != nil {
		return nil, err
	}
	candidates, err := usersOf(r.GetCandidateIds())
	if err != nil {
		return nil, err
	}
	users, err := s.service.Roommates(ctx, usecases.Caller{User: of, Grants: wire.Grants(r.GetGrants())}, candidates)
	if err != nil {
		return nil, err
	}
	return &chatv1.ListRoommatesResponse{UserIds: idsOf(users)}, nil
}

// GetNotificationHead tells a gateway whether a user's socket may have missed a notification.
func (s *Server) GetNotificationHead(ctx context.Context, r *chatv1.GetNotificationHeadRequest) (*chatv1.GetNotificationHeadResponse, error) {
	user, err := chat.ParseUserID(r.GetUserId())
	if err != nil {
		return nil, err
	}
	at, err := s.service.NotificationHead(ctx, user)
	if err != nil || at.IsZero() {
		return &chatv1.GetNotificationHeadResponse{}, err
	}
	return &chatv1.GetNotificationHeadResponse{CreatedAt: timestamppb.New(at)}, nil
}

func roomOf(r *usecases.RoomSummary) *chatv1.Room {
	room := &chatv1.Room{
		RoomId: string(r.Room), Name: r.Name, Role: string(r.Role), Seq: r.Head, Unread: uint32(min(r.Marker.Unread, chat.MaxUnread)),
		Kind: new(string(r.Kind)),
	}
	room.Mentions = new(markerAnswer(r.Marker).GetMentions())
	room.Marker, room.Prefs = ownOf(r.Own)
	if r.Last != nil {
		room.LastMessage = messageOf(r.Last)
	}
	return room
}

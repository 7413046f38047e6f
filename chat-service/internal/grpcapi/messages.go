package grpcapi

import (
	"context"
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/message"
	"github.com/starling-chat/starling/chat-service/internal/rules"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
)

// Messages implements chatv1.MessageServiceServer by the use cases of client events.
type Messages struct {
	chatv1.UnimplementedMessageServiceServer

	service *usecases.Service
}

// NewMessages returns Messages on the use cases.
func NewMessages(service *usecases.Service) *Messages { return &Messages{service: service} }

var _ chatv1.MessageServiceServer = (*Messages)(nil)

// GetMessage gives a message as it is now.
func (s *Messages) GetMessage(ctx context.Context, r *chatv1.GetMessageRequest) (*chatv1.Message, error) {
	who, room, id, err := aboutMessage(ctx, r)
	if err != nil {
		return nil, err
	}
	list, _, err := s.service.Messages(ctx, who, room, []chat.MessageID{id})
	switch {
	case err != nil:
		return nil, err
	case len(list) == 0:
		return nil, rules.ErrNoMessage()
	}
	return messageOf(&list[0]), nil
}

// EditMessage changes what a message says.
func (s *Messages) EditMessage(ctx context.Context, r *chatv1.EditMessageRequest) (*chatv1.MessageChangedResponse, error) {
	who, room, id, err := aboutMessage(ctx, r)
	if err != nil {
		return nil, err
	}
	if r.IfChanged != nil && r.GetIfChanged() == 0 {
		return nil, fault.New(fault.Invalid, "ifChanged must be a whole number from 1")
	}
	e := rules.Edit{Origin: rules.Origin{Room: room}, Message: id, Content: r.Content, IfChanged: r.GetIfChanged()}
	data, given, err := messageData(r)
	if err != nil {
		return nil, err
	}
	if given {
		if len(data) == 2 { // {}
			data = nil
		}
		e.Data = &data
	}
	if e.Mentions, err = mentionsOf(r.GetMentions()); err != nil {
		return nil, err
	}
	return changed(ctx, func(done func(rules.Outcome)) error { return s.service.Edit(who, e, done) })
}

// DeleteMessage leaves nothing of a message but its place.
func (s *Messages) DeleteMessage(ctx context.Context, r *chatv1.DeleteMessageRequest) (*chatv1.MessageChangedResponse, error) {
	who, room, id, err := aboutMessage(ctx, r)
	if err != nil {
		return nil, err
	}
	return changed(ctx, func(done func(rules.Outcome)) error { return s.service.DeleteMessage(who, room, id, done) })
}

// ListMessageEdits gives what a message said before.
func (s *Messages) ListMessageEdits(ctx context.Context, r *chatv1.ListMessageEditsRequest) (*chatv1.ListMessageEditsResponse, error) {
	who, room, id, err := aboutMessage(ctx, r)
	if err != nil {
		return nil, err
	}
	list, err := s.service.Edits(ctx, who, room, id)
	if err != nil {
		return nil, err
	}
	answer := &chatv1.ListMessageEditsResponse{}
	for _, f := range list {
		answer.Versions = append(answer.Versions, &chatv1.MessageVersion{
			Seq: f.Version, Content: f.Content, Data: lossy(f.Data), DataJson: f.Data, At: wire.Time(f.At),
		})
	}
	return answer, nil
}

// AddReaction has a user react to a message.
func (s *Messages) AddReaction(ctx context.Context, r *chatv1.AddReactionRequest) (*chatv1.ReactionsResponse, error) {
	return s.react(ctx, r, false)
}

// RemoveReaction ends that.
func (s *Messages) RemoveReaction(ctx context.Context, r *chatv1.RemoveReactionRequest) (*chatv1.ReactionsResponse, error) {
	return s.react(ctx, r, true)
}

func (s *Messages) react(ctx context.Context, r interface {
	ofMessage
	GetKey() string
}, off bool,
) (*chatv1.ReactionsResponse, error) {
	who, room, id, err := aboutMessage(ctx, r)
	if err != nil {
		return nil, err
	}
	if who.User == chat.System {
		return nil, fault.New(fault.Invalid, "asUserId must be the user whose reaction it is")
	}
	react := rules.React{Origin: rules.Origin{Room: room}, Message: id, Key: r.GetKey(), Off: off}
	o, err := outcome(ctx, func(done func(rules.Outcome)) error { return s.service.React(who, react, done) })
	if err != nil {
		return nil, err
	}
	answer := &chatv1.ReactionsResponse{Reactions: reactionsOf(o.Details.Reactions, o.Details.Mine)}
	if o.Changed {
		answer.Seq = &o.Seq
	}
	return answer, nil
}

// ListPins gives the pinned messages of a room.
func (s *Messages) ListPins(ctx context.Context, r *chatv1.ListPinsRequest) (*chatv1.ListPinsResponse, error) {
	who, room, err := inRoom(ctx, caller.ScopeMessages, r.GetAsUserId(), r.GetRoomId())
	if err != nil {
		return nil, err
	}
	limit, err := pageLimit(r.Limit)
	if err == nil {
		err = checkSequence("after", r.GetAfter())
	}
	if err != nil {
		return nil, err
	}
	list, more, err := s.service.Pins(ctx, who, room, r.GetAfter(), limit)
	if err != nil {
		return nil, err
	}
	answer := &chatv1.ListPinsResponse{Messages: messagesOf(list)}
	if more {
		answer.Next = &list[len(list)-1].Seq
	}
	return answer, nil
}

// PinMessage pins a message.
func (s *Messages) PinMessage(ctx context.Context, r *chatv1.PinMessageRequest) (*chatv1.MessageChangedResponse, error) {
	return s.pin(ctx, r, false)
}

// UnpinMessage ends that.
func (s *Messages) UnpinMessage(ctx context.Context, r *chatv1.UnpinMessageRequest) (*chatv1.MessageChangedResponse, error) {
	return s.pin(ctx, r, true)
}

func (s *Messages) pin(ctx context.Context, r ofMessage, off bool) (*chatv1.MessageChangedResponse, error) {
	who, room, id, err := aboutMessage(ctx, r)
	if err != nil {
		return nil, err
	}
	pin := rules.Pin{Origin: rules.Origin{Room: room}, Message: id, Off: off}
	return changed(ctx, func(done func(rules.Outcome)) error { return s.service.Pin(who, pin, done) })
}

// ListMessageChanges gives what is new in a room or has changed.
func (s *Messages) ListMessageChanges(ctx context.Context, r *chatv1.ListMessageChangesRequest) (*chatv1.ListMessageChangesResponse, error) {
	who, room, err := inRoom(ctx, caller.ScopeMessages, r.GetAsUserId(), r.GetRoomId())
	if err != nil {
		return nil, err
	}
	limit, err := pageLimit(r.Limit)
	if err == nil {
		err = checkSequence("since", r.GetSince())
	}
	if err != nil {
		return nil, err
	}
	view, err := s.service.MessageChanges(ctx, who, room, r.GetSince(), limit)
	if err != nil {
		return nil, err
	}
	return &chatv1.ListMessageChangesResponse{Messages: messagesOf(view.Messages), UpTo: view.UpTo, HasMore: view.HasMore}, nil
}

// ofMessage is a request about one message.
type ofMessage interface {
	GetAsUserId() string
	GetRoomId() string
	GetMessageId() string
}

// aboutMessage finds out who asks about which message.
func aboutMessage(ctx context.Context, r ofMessage) (who usecases.Caller, room chat.RoomID, id chat.MessageID, err error) {
	if who, room, err = inRoom(ctx, caller.ScopeMessages, r.GetAsUserId(), r.GetRoomId()); err == nil {
		id, err = chat.ParseMessageID(r.GetMessageId())
	}
	return who, room, id, err
}

// outcome awaits what became of a command.
func outcome(ctx context.Context, submit func(done func(rules.Outcome)) error) (rules.Outcome, error) {
	return await(ctx, func(done func(rules.Outcome, error)) error {
		return submit(func(o rules.Outcome) { done(o, o.Err) })
	})
}

// changed is outcome for what changes a message.
func changed(ctx context.Context, submit func(done func(rules.Outcome)) error) (*chatv1.MessageChangedResponse, error) {
	o, err := outcome(ctx, submit)
	if err != nil {
		return nil, err
	}
	return &chatv1.MessageChangedResponse{Seq: o.Seq}, nil
}

// checkSequence refuses what no sequence can be.
func checkSequence(name string, seq uint64) error {
	if seq > math.MaxInt64-1 {
		return fault.Newf(fault.Invalid, "%s is too large", name)
	}
	return nil
}

// placeOf reads the sequence of a message, or its id.
func placeOf(name, text string) (uint64, error) {
	if seq, err := strconv.ParseUint(text, 10, 64); err == nil {
		return seq, checkSequence(name, seq)
	}
	id, err := chat.ParseMessageID(text)
	if err != nil {
		return 0, fault.Newf(fault.Invalid, "%s must be a message's id or a sequence", name)
	}
	return chat.SeqOf(id), nil
}

// messageData reads the data of a message, a JSON object; given tells whether there is any.
func messageData(r interface {
	GetData() *structpb.Struct
	GetDataJson() []byte
},
) (data []byte, given bool, err error) {
	data = r.GetDataJson()
	switch {
	case len(data) > 0:
	case r.GetData() == nil:
		return nil, false, nil
	default:
		if data, err = protojson.Marshal(r.GetData()); err != nil {
			return nil, true, fault.New(fault.Invalid, "data must be an object")
		}
	}
	data, err = wire.MessageData(data)
	return data, true, err
}

// mentionsOf reads mentions; nil = there are none.
func mentionsOf(m *chatv1.MessageMentions) (*rules.Mentions, error) {
	if m == nil {
		return nil, nil //nolint:nilnil // most messages have none
	}
	out := &rules.Mentions{Room: m.GetRoom()}
	for _, id := range m.GetUsers() {
		user, err := chat.ParseUserID(id)
		if err != nil {
			return nil, fault.New(fault.Invalid, "mentions.users must be users' ids")
		}
		if !slices.Contains(out.Users, user) {
			out.Users = append(out.Users, user)
		}
		if len(out.Users) > message.MaxMentions {
			break // it is refused as too large
		}
	}
	return out, nil
}

// extrasOf reads what a new message has beside its text; nil = nothing.
func extrasOf(r *chatv1.PostMessageRequest) (*chat.Extras, error) {
	var x chat.Extras
	var err error
	if x.Format, err = message.ParseFormat(r.GetFormat()); err != nil {
		return nil, err
	}
	given := false
	if x.Data, given, err = messageData(r); err != nil {
		return nil, err
	}
	if r.GetReplyTo() != "" {
		id, err := chat.ParseMessageID(r.GetReplyTo())
		if err != nil {
			return nil, fault.New(fault.Invalid, "replyTo must be a message's id")
		}
		x.ReplyTo = &chat.Reply{ID: id}
	}
	mentions, err := mentionsOf(r.GetMentions())
	if err != nil {
		return nil, err
	}
	if mentions != nil {
		x.Mentioned, x.MentionsRoom = mentions.Users, mentions.Room
	}
	if x.Format == message.Plain && !given && x.ReplyTo == nil && len(x.Mentioned) == 0 && !x.MentionsRoom {
		return nil, nil //nolint:nilnil // most messages have none
	}
	return &x, nil
}

func messagesOf(list []chat.Message) []*chatv1.Message {
	messages := make([]*chatv1.Message, len(list))
	for i := range list {
		messages[i] = messageOf(&list[i])
	}
	return messages
}

func messageOf(m *chat.Message) *chatv1.Message {
	out := &chatv1.Message{
		Id: m.ID.String(), RoomId: string(m.Room), Seq: m.Seq, Sender: senderOf(m.Sender),
		Content: m.Content, Type: m.Type, CreatedAt: wire.Time(m.CreatedAt), ClientMsgId: given(m.ClientMsgID),
	}
	if m.Sender.ID == chat.System {
		out.System = new(true)
	}
	if m.N > 0 {
		out.N = &m.N
	}
	if m.Changed > 0 {
		out.Changed = &m.Changed
	}
	if x := m.Extras; x != nil {
		beside(out, x)
	}
	return out
}

// beside adds what a message has beside its text.
func beside(out *chatv1.Message, x *chat.Extras) {
	out.Format, out.Data, out.DataJson = given(x.Format), lossy(x.Data), x.Data
	if r := x.ReplyTo; r != nil {
		out.ReplyTo = &chatv1.MessageReply{Id: r.ID.String(), Sender: senderOf(r.Sender), Preview: r.Preview}
	}
	if len(x.Mentioned) > 0 || x.MentionsRoom {
		out.Mentions = &chatv1.MessageMentions{Users: idsOf(x.Mentioned), Room: x.MentionsRoom}
	}
	out.Reactions = reactionsOf(x.Reactions, x.Mine)
	if !x.PinnedAt.IsZero() {
		out.PinnedAt = new(wire.Time(x.PinnedAt))
	}
	if !x.EditedAt.IsZero() {
		out.EditedAt = new(wire.Time(x.EditedAt))
	}
	if !x.DeletedAt.IsZero() {
		out.DeletedAt, out.DeletedBy = new(wire.Time(x.DeletedAt)), new(string(x.DeletedBy))
	}
}

func senderOf(s chat.Sender) *chatv1.Sender { return &chatv1.Sender{Id: string(s.ID), Name: s.Name} }

func reactionsOf(counts message.Counts, mine []string) []*chatv1.MessageReaction {
	list := make([]*chatv1.MessageReaction, len(counts))
	for i, c := range counts {
		list[i] = &chatv1.MessageReaction{Key: c.Key, Count: uint32(min(max(c.N, 0), math.MaxInt32))}
		if slices.Contains(mine, c.Key) {
			list[i].Mine = new(true)
		}
	}
	return list
}

// lossy gives JSON for who reads no text: numbers and texts go as far as protobuf's. What goes beyond is an object without members there, so
// that the text beside it is still that of something.
func lossy(data []byte) *structpb.Struct {
	if len(data) == 0 {
		return nil
	}
	out := &structpb.Struct{}
	if protojson.Unmarshal(data, out) != nil {
		return &structpb.Struct{}
	}
	return out
}

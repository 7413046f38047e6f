package grpcapi

import (
	"context"

	"github.com/starling-chat/starling/chat-service/internal/chat"
	"github.com/starling-chat/starling/chat-service/internal/usecases"
	"github.com/starling-chat/starling/chat-service/internal/wire"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	chatv1 "github.com/starling-chat/starling/proto/gen/starling/chat/v1"
)

// reading finds out whose marker in which room a request is about: a backend as itself has none.
func reading(ctx context.Context, asUser, rawRoom string) (who usecases.Caller, room chat.RoomID, err error) {
	who, room, err = inRoom(ctx, caller.ScopeMessages, asUser, rawRoom)
	if err == nil && who.User == chat.System {
		err = fault.New(fault.Invalid, "asUserId must be the user who reads")
	}
	return who, room, err
}

func markerAnswer(m chat.Marker) *chatv1.MarkerResponse {
	return &chatv1.MarkerResponse{
		Marker: &chatv1.RoomMarker{Seq: m.Seq, N: m.N}, Unread: uint32(min(m.Unread, chat.MaxUnread)), Mentions: uint32(min(max(m.Mentions, 0), chat.MaxMentions)),
	}
}

// MarkRead moves a user's marker forward.
func (s *Messages) MarkRead(ctx context.Context, r *chatv1.MarkReadRequest) (*chatv1.MarkerResponse, error) {
	who, room, err := reading(ctx, r.GetAsUserId(), r.GetRoomId())
	if err != nil {
		return nil, err
	}
	receipt := usecases.Receipt{Membership: chat.Membership{Room: room}}
	switch {
	case r.MessageId != nil:
		receipt.Message, err = chat.ParseMessageID(r.GetMessageId())
	case r.Seq != nil:
		receipt.BySeq, receipt.Seq = true, r.GetSeq()
		err = checkSequence("seq", receipt.Seq)
	default:
		err = fault.New(fault.Invalid, "messageId or seq must be given")
	}
	if err != nil {
		return nil, err
	}
	marker, err := await(ctx, func(done func(chat.Marker, error)) error { return s.service.MarkRead(who, receipt, done) })
	if err != nil {
		return nil, err
	}
	return markerAnswer(marker), nil
}

// MarkUnread moves a user's marker back.
func (s *Messages) MarkUnread(ctx context.Context, r *chatv1.MarkUnreadRequest) (*chatv1.MarkerResponse, error) {
	who, room, err := reading(ctx, r.GetAsUserId(), r.GetRoomId())
	if err == nil && r.Seq == nil {
		err = fault.New(fault.Invalid, "seq must be a whole number from 0")
	}
	if err == nil {
		err = checkSequence("seq", r.GetSeq())
	}
	if err != nil {
		return nil, err
	}
	marker, err := s.service.MarkUnread(ctx, who, room, r.GetSeq())
	if err != nil {
		return nil, err
	}
	return markerAnswer(marker), nil
}

// ListMentions lists what mentions a user.
func (s *Messages) ListMentions(ctx context.Context, r *chatv1.ListMentionsRequest) (*chatv1.ListMentionsResponse, error) {
	who, err := asking(ctx, caller.ScopeMessages, r.GetAsUserId())
	if err == nil && who.User == chat.System {
		err = fault.New(fault.Invalid, "asUserId is required")
	}
	if err != nil {
		return nil, err
	}
	limit, err := pageLimit(r.Limit)
	var after usecases.MentionsCursor
	if err == nil && r.After != nil {
		after, err = wire.ParseMentionsCursor(r.GetAfter())
	}
	if err != nil {
		return nil, err
	}
	page, err := s.service.Mentions(ctx, who, after, limit)
	if err != nil {
		return nil, err
	}
	answer := &chatv1.ListMentionsResponse{}
	for i := range page.Messages {
		m := &page.Messages[i]
		answer.Mentions = append(answer.Mentions, &chatv1.Mention{RoomId: string(m.Room), Message: messageOf(m)})
	}
	if next := wire.MentionsCursor(page.Next); next != "" {
		answer.Next = &next
	}
	return answer, nil
}

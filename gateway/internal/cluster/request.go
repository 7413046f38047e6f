package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/starling-chat/starling/gateway/internal/socketio"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/caller"
	"github.com/starling-chat/starling/proto/fault"
	clusterv1 "github.com/starling-chat/starling/proto/gen/starling/cluster/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
	"github.com/starling-chat/starling/proto/limits"
	"github.com/starling-chat/starling/proto/namespaces"
	"github.com/starling-chat/starling/proto/subject"
)

// The bounds of a cluster call.
const (
	maxTargets     = 1000 // ids in one list
	maxTargetID    = max(limits.RoomIDBytes, limits.UserIDBytes)
	maxEmitBytes   = 512 << 10 // arguments and attachments of an emit
	maxAttachments = 10        // what official clients take by default
	maxArgDepth    = 32
)

// targeted is what the requests that name sockets have in common.
type targeted interface {
	GetRooms() []string
	GetUsers() []string
	GetSockets() []string
	GetAll() bool
	GetExcept() *clusterv1.Except
	GetNamespace() string
	GetRoomId() string
	GetUserId() string
}

func targetOf(r targeted) *clusterv1.Target {
	target := &clusterv1.Target{
		Rooms: withID(r.GetRooms(), r.GetRoomId()), Users: withID(r.GetUsers(), r.GetUserId()), Sockets: r.GetSockets(),
		All: r.GetAll(), Namespace: r.GetNamespace(),
	}
	if e := r.GetExcept(); e != nil { // other gateways know the lists only
		target.Except = &clusterv1.Except{Rooms: withID(e.GetRooms(), e.GetRoomId()), Users: withID(e.GetUsers(), e.GetUserId()), Sockets: e.GetSockets()}
	}
	return target
}

// withID adds the id of a field that takes only one.
func withID(list []string, one string) []string {
	if one == "" {
		return list
	}
	return append(append(make([]string, 0, len(list)+1), list...), one)
}

func allowSockets(ctx context.Context, target *clusterv1.Target) error {
	if err := caller.RequireScope(ctx, caller.ScopeSockets); err != nil {
		return err
	}
	return checkTarget(target)
}

func allowRooms(ctx context.Context, target *clusterv1.Target, field string, rooms []string) error {
	if err := allowSockets(ctx, target); err != nil {
		return err
	}
	if len(rooms) == 0 || len(rooms) > maxRoomsOfCall {
		return fault.Newf(fault.Invalid, "%s must have 1 to %d rooms", field, maxRoomsOfCall)
	}
	return checkIDs(field, rooms)
}

// checkTarget refuses a target that names nobody: an empty list must not become everyone.
func checkTarget(t *clusterv1.Target) error {
	named := len(t.GetRooms()) + len(t.GetUsers()) + len(t.GetSockets())
	if named == 0 && !t.GetAll() {
		return fault.New(fault.Invalid, "A target is missing: rooms, users, sockets or all")
	}
	if named > 0 && t.GetAll() {
		return fault.New(fault.Invalid, "all must not stand beside rooms, users or sockets")
	}
	if t.GetNamespace() != "" && !namespaces.Exists(t.GetNamespace()) {
		return fault.New(fault.Invalid, "namespace does not exist")
	}
	for _, list := range []struct {
		field string
		ids   []string
	}{
		{"rooms", t.GetRooms()},
		{"users", t.GetUsers()},
		{"sockets", t.GetSockets()},
		{"except.rooms", t.GetExcept().GetRooms()},
		{"except.users", t.GetExcept().GetUsers()},
		{"except.sockets", t.GetExcept().GetSockets()},
	} {
		if err := checkIDs(list.field, list.ids); err != nil {
			return err
		}
	}
	return nil
}

func checkIDs(field string, ids []string) error {
	if len(ids) > maxTargets {
		return fault.Newf(fault.TooLarge, "%s must have at most %d ids", field, maxTargets)
	}
	for _, id := range ids {
		if id == "" || len(id) > maxTargetID {
			return fault.Newf(fault.Invalid, "%s must have ids of 1 to %d bytes", field, maxTargetID)
		}
	}
	return nil
}

// emitOf makes the event of a request. What would make an official client close its connection is refused here: a name that
// is reserved, a placeholder without its attachment.
func emitOf(r *clusterv1.EmitRequest) (*eventv1.Emit, error) {
	switch name := r.GetEvent(); {
	case name == "":
		return nil, fault.New(fault.Invalid, "event is missing")
	case len(name) > subject.MaxEventName:
		return nil, fault.Newf(fault.Invalid, "event must not exceed %d bytes", subject.MaxEventName)
	case socketio.Reserved(name):
		return nil, fault.New(fault.Invalid, "event has a name that Socket.IO reserves")
	case len(r.GetAttachments()) > maxAttachments:
		return nil, fault.Newf(fault.TooLarge, "There can be %d attachments at most", maxAttachments)
	}
	args, err := argsOf(r)
	if err != nil {
		return nil, err
	}
	size := len(args)
	for _, a := range r.GetAttachments() {
		size += len(a)
	}
	if size > maxEmitBytes {
		return nil, fault.Newf(fault.TooLarge, "args with attachments must not exceed %d bytes", maxEmitBytes)
	}
	if err := checkArgs(args, len(r.GetAttachments())); err != nil {
		return nil, err
	}
	return &eventv1.Emit{Event: r.GetEvent(), Args: args, Attachments: r.GetAttachments()}, nil
}

// argsOf gives the arguments of an emit as a JSON array: as text they are taken as they are, because a number in JSON may be more
// than one in protobuf. The text is not checked yet.
func argsOf(r *clusterv1.EmitRequest) ([]byte, error) {
	hasArgs, hasData := r.Args != nil || len(r.GetArgsJson()) > 0, r.Data != nil || len(r.GetDataJson()) > 0
	switch {
	case hasArgs && hasData:
		return nil, fault.New(fault.Invalid, "data is short for args: only one of them can be given")
	case len(r.GetArgsJson()) > 0:
		return r.GetArgsJson(), nil
	case len(r.GetDataJson()) > 0:
		return slices.Concat([]byte("["), r.GetDataJson(), []byte("]")), nil
	}
	list := r.GetArgs()
	if hasData {
		list = &structpb.ListValue{Values: []*structpb.Value{r.GetData()}}
	}
	if len(list.GetValues()) == 0 {
		return []byte("[]"), nil
	}
	raw, err := protojson.Marshal(list)
	if err != nil {
		return nil, fault.New(fault.Invalid, "args must be JSON")
	}
	var compact bytes.Buffer // protojson adds spaces as it likes
	if err := json.Compact(&compact, raw); err != nil {
		return nil, fault.New(fault.Invalid, "args must be JSON")
	}
	return compact.Bytes(), nil
}

// checkArgs refuses what is no JSON array, nests too deeply, or points at an attachment that is not there.
func checkArgs(args []byte, attachments int) error {
	s := rawjson.Scanner{Data: args, MaxDepth: maxArgDepth}
	if attachments > 0 {
		s.Watch = &rawjson.Watch{Names: [2]string{"_placeholder", "num"}, Object: func(_ int, values [2]rawjson.Span) bool {
			if string(args[values[0].Start:values[0].End]) != "true" {
				return true
			}
			n, err := strconv.ParseFloat(string(args[values[1].Start:values[1].End]), 64)
			return err == nil && n == math.Trunc(n) && 0 <= n && n < float64(attachments)
		}}
	}
	switch err := s.Scan(); {
	case errors.Is(err, rawjson.ErrTooDeep):
		return fault.New(fault.Invalid, "args are nested too deeply")
	case errors.Is(err, rawjson.ErrRefused):
		return fault.New(fault.Invalid, "args have a placeholder without its attachment")
	case err != nil || args[rawjson.SkipSpace(args, 0)] != '[':
		return fault.New(fault.Invalid, "args must be a JSON array")
	}
	return nil
}

// repliesOf makes the answer's replies of what the clients acknowledged, with args as JSON text or as protobuf values. Numbers take
// more room as the latter, so the bound is looked at again.
func repliesOf(res result, asText bool) (replies []*clusterv1.AckReply, truncated bool) {
	truncated = res.truncated
	size := 0
	for _, ack := range res.replies {
		reply := &clusterv1.AckReply{
			SocketId: ack.GetSocketId(), UserId: ack.GetUserId(), Truncated: ack.GetTruncated(),
			Attachments: ack.GetAttachments(),
		}
		if asText {
			reply.ArgsJson = ack.GetArgs()
		} else {
			reply.Args = listOf(ack.GetArgs())
		}
		n := proto.Size(reply)
		if size+n > maxAnswer {
			reply.Args, reply.ArgsJson, reply.Attachments, reply.Truncated = nil, nil, nil, true
			truncated, n = true, proto.Size(reply)
		}
		if size+n > maxAnswer+maxEmitBytes {
			break
		}
		size += n
		replies = append(replies, reply)
	}
	return replies, truncated
}

// listOf reads the JSON array of an ack; what protobuf cannot hold, such as 1e999, makes it empty.
func listOf(raw []byte) *structpb.ListValue {
	list := &structpb.ListValue{}
	if len(raw) == 0 {
		return list
	}
	var values []any
	if err := json.Unmarshal(raw, &values); err != nil {
		return list
	}
	made, err := structpb.NewList(values)
	if err != nil {
		return list
	}
	return made
}

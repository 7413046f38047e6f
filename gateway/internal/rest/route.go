package rest

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/starling-chat/starling/proto/fault"
)

// Service is one gRPC service with what answers its calls: Conn, or Server in this process.
type Service struct {
	Desc   *grpc.ServiceDesc
	Conn   grpc.ClientConnInterface
	Server any
}

// route is one call: a method of HTTP, and a path whose parts in braces are fields of the request. Or it is a document.
type route struct {
	method   string
	path     []segment
	document *Document // nil: a call, of which the rest tells

	body bool // the request is in the body, otherwise in the query
	in   protoreflect.MessageType
	out  protoreflect.FullName
	call func(ctx context.Context, md metadata.MD, in proto.Message) (proto.Message, error)
}

// segment is a part of a path between slashes: a word, or any text for a field.
type segment struct {
	word  string
	field protoreflect.FieldDescriptor // nil: a word
}

// routesOf lists the calls of services that the protos give a path.
func routesOf(services []Service) ([]*route, error) {
	var routes []*route
	for _, s := range services {
		descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(s.Desc.ServiceName))
		if err != nil {
			return nil, fmt.Errorf("find service %s: %w", s.Desc.ServiceName, err)
		}
		methods := descriptor.(protoreflect.ServiceDescriptor).Methods()
		for i := range methods.Len() {
			rule, ok := proto.GetExtension(methods.Get(i).Options(), annotations.E_Http).(*annotations.HttpRule)
			if !ok || rule.GetPattern() == nil {
				continue
			}
			r, err := routeOf(s, methods.Get(i), rule)
			if err != nil {
				return nil, fmt.Errorf("route of %s: %w", methods.Get(i).FullName(), err)
			}
			routes = append(routes, r)
		}
	}
	return routes, nil
}

func routeOf(s Service, m protoreflect.MethodDescriptor, rule *annotations.HttpRule) (*route, error) {
	in, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
	if err != nil {
		return nil, err
	}
	out, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
	if err != nil {
		return nil, err
	}
	r := &route{in: in, out: m.Output().FullName(), body: rule.GetBody() != ""}
	var path string
	switch pattern := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		r.method, path = http.MethodGet, pattern.Get
	case *annotations.HttpRule_Post:
		r.method, path = http.MethodPost, pattern.Post
	case *annotations.HttpRule_Patch:
		r.method, path = http.MethodPatch, pattern.Patch
	case *annotations.HttpRule_Delete:
		r.method, path = http.MethodDelete, pattern.Delete
	default:
		return nil, fmt.Errorf("the method of %v is not known here", rule)
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		name, isField := strings.CutPrefix(part, "{")
		if !isField {
			r.path = append(r.path, segment{word: part})
			continue
		}
		field := m.Input().Fields().ByName(protoreflect.Name(strings.TrimSuffix(name, "}")))
		if field == nil || field.Kind() != protoreflect.StringKind {
			return nil, fmt.Errorf("%s of %s is no text of the request", part, path)
		}
		r.path = append(r.path, segment{field: field})
	}
	if s.Server != nil {
		r.call, err = local(s, m)
	} else {
		r.call = remote(s, m, out)
	}
	return r, err
}

// remote calls another process.
func remote(s Service, m protoreflect.MethodDescriptor, out protoreflect.MessageType) func(context.Context, metadata.MD, proto.Message) (proto.Message, error) {
	name := "/" + s.Desc.ServiceName + "/" + string(m.Name())
	return func(ctx context.Context, md metadata.MD, in proto.Message) (proto.Message, error) {
		answer := out.New().Interface()
		return answer, s.Conn.Invoke(metadata.NewOutgoingContext(ctx, md), name, in, answer)
	}
}

// local calls a server in this process.
func local(s Service, m protoreflect.MethodDescriptor) (func(context.Context, metadata.MD, proto.Message) (proto.Message, error), error) {
	i := slices.IndexFunc(s.Desc.Methods, func(d grpc.MethodDesc) bool { return d.MethodName == string(m.Name()) })
	if i < 0 {
		return nil, fmt.Errorf("%s has no such method", s.Desc.ServiceName)
	}
	handler := s.Desc.Methods[i].Handler
	return func(ctx context.Context, md metadata.MD, in proto.Message) (proto.Message, error) {
		answer, err := handler(s.Server, metadata.NewIncomingContext(ctx, md), func(to any) error {
			proto.Merge(to.(proto.Message), in) //nolint:forcetypeassert // the generated handler gives a message
			return nil
		}, nil)
		if err != nil {
			return nil, err
		}
		return answer.(proto.Message), nil //nolint:forcetypeassert // the generated handler gives a message
	}, nil
}

// find finds the route of a request and the values of the path's fields. A path is taken apart before it is unescaped, so that an
// id may have a slash in it (%2F). allowed are the methods of a path whose route is another one.
func find(routes []*route, r *http.Request) (found *route, values []string, allowed []string, err error) {
	parts := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	for _, candidate := range routes {
		if !candidate.matches(parts) {
			continue
		}
		allowed = append(allowed, candidate.method)
		if candidate.method == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
		if candidate.method == r.Method || candidate.method == http.MethodGet && r.Method == http.MethodHead {
			found = candidate
		}
	}
	if found == nil {
		slices.Sort(allowed)
		return nil, nil, slices.Compact(allowed), nil
	}
	for i, s := range found.path {
		if s.field == nil {
			continue
		}
		value, err := url.PathUnescape(parts[i])
		if err != nil || !utf8.ValidString(value) {
			return nil, nil, nil, fault.Newf(fault.Invalid, "%s must be UTF-8", s.field.JSONName())
		}
		values = append(values, value)
	}
	return found, values, nil, nil
}

func (r *route) matches(parts []string) bool {
	return slices.EqualFunc(r.path, parts, func(s segment, part string) bool {
		if s.field != nil {
			return part != ""
		}
		word, err := url.PathUnescape(part)
		return err == nil && word == s.word
	})
}

// template is the path as the protos have it, for rules by path.
func (r *route) template() string {
	var b strings.Builder
	for _, s := range r.path {
		b.WriteString("/" + cmp.Or(s.word, "{}"))
	}
	return b.String()
}

package relay

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/transport"
	"github.com/starling-chat/starling/platform/rawjson"
	"github.com/starling-chat/starling/proto/fault"
	authv1 "github.com/starling-chat/starling/proto/gen/starling/auth/v1"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// identity is who a client is by its latest token; client.mu guards it.
type identity struct {
	prefix    string // the fields of ClientEvent that are the same for every event of the socket, encoded, save those of the gateway
	issuedAt  int64  // Unix milliseconds; 0 = unknown
	expiresAt int64  // Unix seconds; 0 = never
}

// setIdentity has the socket's events carry an identity from now on: at birth, and when its client brings a fresh token.
func (c *client) setIdentity(identity *eventv1.Identity) error {
	prefix, err := proto.Marshal(&eventv1.ClientEvent{
		SocketId: c.socket.ID, Namespace: c.socket.Namespace, Identity: identity,
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens++
	c.prefix = string(prefix)
	if t := identity.GetIssuedAt(); t != nil {
		c.issuedAt = t.AsTime().UnixMilli()
	}
	c.expiresAt = 0
	if t := identity.GetExpiresAt(); t != nil {
		c.expiresAt = t.AsTime().Unix()
	}
	return nil
}

// shareText has the texts of a new client, which live as long as it does, be parts of one: four of them would take four allocations.
func (c *client) shareText() {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := c.prefix + c.pid
	c.prefix = text[:len(c.prefix)]
	for _, part := range []*string{&c.pid, &c.socket.ID, &c.socket.UserID} {
		*part = partOf(text, *part)
	}
}

// partOf gives a text as a part of a longer one, where it is one, so that it takes no memory of its own.
func partOf(text, part string) string {
	if i := strings.Index(text, part); i >= 0 {
		return text[i : i+len(part)]
	}
	return part
}

// prolong has the socket live as long as a fresh token, with the rooms that this one opens; was is what it had before. Name, picture and
// role stay those with which it connected.
func (c *client) prolong(fresh *eventv1.Identity) (was *eventv1.Identity, err error) {
	if was, err = c.identityNow(); err != nil {
		return nil, err
	}
	fresh.Name, fresh.NameVersion, fresh.AvatarUrl, fresh.Role = was.GetName(), was.GetNameVersion(), was.GetAvatarUrl(), was.GetRole()
	return was, c.setIdentity(fresh)
}

// RevokedBy implements revocations.Token.
func (c *client) RevokedBy(r *eventv1.Revocation) bool {
	c.mu.Lock()
	issued := c.issuedAt
	c.mu.Unlock()
	ofLogin := r.GetLoginId() != ""
	switch {
	case ofLogin:
	case issued < r.GetRevokedAt().AsTime().UnixMilli(): // auth-service gives a login after the revocation a later time; unknown is 0
		return true
	case r.GetGeneration() == 0:
		return false
	}
	who, err := c.identityNow() // not kept beside the encoded one: revocations are rare
	if ofLogin {
		return err != nil || who.GetLoginId() == r.GetLoginId()
	}
	return err != nil || who.GetGeneration() < r.GetGeneration()
}

// look lets go of what the client needs only while it sends, and tells whether its token has ended.
func (c *client) look(now time.Time) (expired bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restLocked(now)
	return c.expiresAt != 0 && now.Unix() >= c.expiresAt
}

// refresh takes a fresh access token of the same user, so that the socket outlives the one that it came with.
func (c *client) refresh(p *pending) {
	r := c.relay
	c.within(p, "auth-service", func(ctx context.Context) error {
		err := r.refreshIdentity(ctx, c, p)
		if err == nil {
			r.ack(c.socket, p, []byte(`[{"ok":true}]`), nil)
		}
		return err
	})
}

// refreshIdentity has auth-service check the fresh token, and binds its identity to the client.
func (r *Relay) refreshIdentity(ctx context.Context, c *client, p *pending) error {
	arg, _ := rawjson.First(p.args)
	raw, _ := rawjson.Field(arg, "token")
	token, ok := rawjson.Unquote(raw)
	if !ok {
		return fault.New(fault.Invalid, "token must be a string")
	}
	res, err := r.auth.Authenticate(ctx, &authv1.AuthenticateRequest{Token: token, Fresh: r.revocations.Lately(c.socket.UserID)})
	if err != nil {
		return fault.FromStatus(err)
	}
	if res.GetIdentity().GetUserId() != c.socket.UserID {
		return fault.New(fault.Forbidden, "The token belongs to another user")
	}
	was, err := c.prolong(res.GetIdentity())
	if err != nil {
		return err
	}
	if r.revocations.Cover(c.socket.UserID, c) { // it came between the check of the token and this line
		c.socket.Disconnect(transport.ReasonServer)
		return fault.Refusal(fault.ReasonToken, nil)
	}
	return r.leaveClosed(ctx, c, was, res.GetIdentity())
}

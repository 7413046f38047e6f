package relay

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/starling-chat/starling/gateway/internal/transport"
	eventv1 "github.com/starling-chat/starling/proto/gen/starling/event/v1"
)

// identity is who a client is by its latest token; client.mu guards it.
type identity struct {
	prefix    []byte // the fields of ClientEvent that are the same for every event of the socket, encoded
	loginID   string
	issuedAt  int64 // Unix milliseconds; 0 = unknown
	expiresAt int64 // Unix seconds; 0 = never
}

// setIdentity has the socket's events carry an identity from now on: at birth, and when its client brings a fresh token.
func (c *client) setIdentity(identity *eventv1.Identity) error {
	prefix, err := proto.Marshal(&eventv1.ClientEvent{
		SocketId: c.socket.ID, GatewayId: c.relay.cfg.GatewayID, Namespace: c.socket.Namespace, Identity: identity,
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.prefix, c.loginID = prefix, identity.GetLoginId()
	if t := identity.GetIssuedAt(); t != nil {
		c.issuedAt = t.AsTime().UnixMilli()
	}
	c.expiresAt = 0
	if t := identity.GetExpiresAt(); t != nil {
		c.expiresAt = t.AsTime().Unix()
	}
	return nil
}

// revokedBy tells whether a revocation covers the client's token.
func (c *client) revokedBy(loginID string, beforeMilli int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if loginID != "" {
		return c.loginID == loginID
	}
	return c.issuedAt < beforeMilli // auth-service gives a login after the revocation a later time; unknown is 0
}

func (c *client) expired(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.expiresAt != 0 && now.Unix() >= c.expiresAt
}

// closeExpired closes the transport, not the namespace: an official client comes back by itself, with a fresh token if its
// auth option is a function.
func (c *client) closeExpired() {
	c.socket.Close(transport.CodePolicy, transport.ReasonExpired)
}

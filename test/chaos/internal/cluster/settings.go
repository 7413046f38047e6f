package cluster

import (
	"fmt"
	"strings"
)

// natsPasswords are the variables that deploy/nats/nats.conf takes its passwords from.
func natsPasswords() []string {
	return []string{
		"NATS_GATEWAY_PASSWORD=gateway", "NATS_CHAT_PASSWORD=chat", "NATS_PRESENCE_PASSWORD=presence", "NATS_AUTH_PASSWORD=auth",
	}
}

// Times are shorter than an operator would choose, so that a run of a minute sees them end.
const (
	pingInterval = "5s"
	pingTimeout  = "4s"
	drainWindow  = "2s"
	sendBuffer   = "16384" // what a client does not read is to wait in its send queue
	tokenTTL     = "30s"   // clients take another one after 18 s
	keyRotation  = "12s"   // the nemesis of keys that rotate in the middle; keys that are over go after some 100 s
	keyOverlap   = "5s"
)

// SendQueue is SEND_QUEUE_BYTES: a client that does not read is to reach it. Less than replayHigh of gateway/internal/relay/replay.go would
// let a replay overflow the queue.
const SendQueue = 128 << 10

// environment gives a service its settings, and makes its links.
func (c *Cluster) environment(s *service) ([]string, error) {
	user := s.kind
	if user != "gateway" {
		user += "-service"
	}
	env := []string{
		"LOG_FORMAT=text", "SHUTDOWN_TIMEOUT=10s",
		"GRPC_LISTEN=" + s.grpc, "ADMIN_LISTEN=" + s.admin,
		"NATS_USER=" + user, "NATS_PASSWORD=" + s.kind, "NATS_IGNORE_DISCOVERED=true",
	}
	if c.cfg.Sabotage != "" {
		env = append(env, "STARLING_SABOTAGE="+c.cfg.Sabotage)
	}
	var servers []string
	for _, node := range c.NATS {
		address, err := c.Links.add(s.Name, node.Name, node.client)
		if err != nil {
			return nil, err
		}
		servers = append(servers, "nats://"+address)
	}
	env = append(env, "NATS_URL="+strings.Join(servers, ","))
	if s.kind != "gateway" {
		address, err := c.Links.add(s.Name, "postgres", c.database)
		if err != nil {
			return nil, err
		}
		env = append(env, "DATABASE_URL="+serviceURL(s.kind, address))
	}
	callers := map[string]string{
		"auth": "gateway=" + gatewayToken, "chat": "gateway=" + gatewayToken + ",presence-service=" + presenceToken, "presence": "gateway=" + gatewayToken,
	}
	shown := map[string]string{"gateway": gatewayToken, "presence": presenceToken}
	env = append(env, "SERVICE_TOKEN="+shown[s.kind], "SERVICE_TOKENS="+callers[s.kind])
	switch s.kind {
	case "gateway":
		env = append(env, "LISTEN="+s.client, "GATEWAY_ID="+s.Name, "PING_INTERVAL="+pingInterval, "PING_TIMEOUT="+pingTimeout,
			"DRAIN_WINDOW="+drainWindow, fmt.Sprintf("SEND_QUEUE_BYTES=%d", SendQueue), "KERNEL_SEND_BUFFER_BYTES="+sendBuffer, fmt.Sprintf("RECOVERY_REPLICAS=%d", c.cfg.Nodes))
	case "chat":
		env = append(env, fmt.Sprintf("STREAM_REPLICAS=%d", c.cfg.Nodes), "STREAM_MAX_AGE=2h") // the stream is read at the end
	case "auth":
		env = append(env, "JWT_SECRET="+JWTSecret, "AUTH_AUTO_PROVISION=true", "REGISTRATION=true", "API_KEY="+APIKey,
			"ACCESS_TOKEN_TTL="+tokenTTL, "KEY_ROTATION="+keyRotation, "KEY_OVERLAP="+keyOverlap, "ARGON2_MEMORY_KIB=8192")
	}
	uses := map[string][]string{"gateway": {"auth", "chat", "presence"}, "presence": {"chat"}}
	for _, kind := range uses[s.kind] {
		addresses, err := c.rpcLinks(s.Name, kind)
		if err != nil {
			return nil, err
		}
		env = append(env, strings.ToUpper(kind)+"_SERVICE_ADDR="+strings.Join(addresses, ","))
	}
	return env, nil
}

func (c *Cluster) rpcLinks(from, kind string) (addresses []string, err error) {
	for _, to := range c.services {
		if to.kind != kind {
			continue
		}
		address, err := c.Links.add(from, to.Name, to.grpc)
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}

package gateway

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/starling-chat/starling/gateway/internal/edge"
	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/platform/stall"
)

// Config holds the settings of the gateway. Fields without a flag are for running it inside another process.
type Config struct {
	run.Common
	Obs      obs.Settings   `embed:"" set:"admin_listen=:8080"`
	RPC      rpc.Settings   `embed:"" set:"grpc_listen=:7004"`
	NATS     bus.Settings   `embed:""`
	Listen   Listen         `embed:""`
	TLS      TLS            `embed:""`
	Services Services       `embed:""`
	Protocol Protocol       `embed:""`
	Limits   Limits         `embed:""`
	Stall    stall.Settings `embed:""`
	Recovery Recovery       `embed:""`
	Drain    Drain          `embed:""`

	// Listener is used instead of LISTEN where set.
	Listener net.Listener `kong:"-"`
	// Demo are accounts that the web app offers, and Developer what its developer drawer asks, below /dev/.
	Demo      []DemoAccount `kong:"-"`
	Developer http.Handler  `kong:"-"`
}

// DemoAccount is an account that the web app offers, for a machine of one's own only.
type DemoAccount = edge.DemoAccount

// Listen says where clients reach the gateway.
type Listen struct {
	Addr           string          `name:"listen" env:"LISTEN" default:":3000" help:"Address for clients (Socket.IO, REST, web page), host:port."`
	ID             string          `name:"gateway-id" env:"GATEWAY_ID" help:"Name of this gateway, unique among the living ones; empty takes a random one."`
	SIDSecret      settings.Secret `name:"sid-secret" env:"SID_SECRET" help:"Secret that marks session ids as made by a gateway, the same in all gateways; empty derives it from SERVICE_TOKEN."`
	OtherSIDSecret settings.Secret `name:"sid-secret-other" env:"SID_SECRET_OTHER" help:"A second SID_SECRET, by which ids are known and not made, while one replaces the other; empty takes SERVICE_TOKEN_OTHER."`
	Path           string          `name:"socketio-path" env:"SOCKETIO_PATH" default:"/socket.io/" help:"Path of Socket.IO, which clients are given as the option path; the client for browsers is served below it."`
	Transport      string          `name:"transport" env:"TRANSPORT" default:"goroutine" enum:"auto,epoll,goroutine" help:"What waits for WebSockets: epoll (a few event loops, on Linux), goroutine (one for each), or auto, which is epoll where there is one."`
	Web            string          `name:"web" env:"WEB" default:"on" enum:"on,off" help:"Whether the web app is served at /: on or off."`
	FrontendURLs   []string        `name:"frontend-url" env:"FRONTEND_URL" help:"Origins whose pages may connect (CORS, WebSocket Origin), separated by commas. https://*.example.com is every host below that domain, null are pages without an origin (sandboxed frames, files), * lets every origin in. Empty: only pages of the gateway's own origin, and clients without an Origin."`
	TrustedProxies []string        `name:"trusted-proxies" env:"TRUSTED_PROXIES" help:"Networks (CIDR) whose X-Forwarded-For, X-Forwarded-Host and X-Forwarded-Port headers are believed, separated by commas."`
}

// TLS says how clients are answered by HTTPS; where nothing is set they are answered in plain text, as behind a proxy with TLS.
type TLS struct {
	Cert      string   `name:"tls-cert" env:"TLS_CERT" help:"File with the certificate (PEM) for clients, followed by those between it and its authority; given, LISTEN speaks HTTPS only. It is read again when it changes."`
	Key       string   `name:"tls-key" env:"TLS_KEY" help:"File with the key (PEM) of that certificate."`
	Domains   []string `name:"acme-domains" env:"ACME_DOMAINS" help:"Host names whose certificates are fetched and renewed by ACME instead, separated by commas; that accepts the authority's terms. For a single gateway that the authority reaches on port 443, or on port 80 by HTTP_LISTEN."`
	Email     string   `name:"acme-email" env:"ACME_EMAIL" help:"Where the authority writes when something is wrong with them; may be empty."`
	Directory string   `name:"acme-directory" env:"ACME_DIRECTORY" default:"https://acme-v02.api.letsencrypt.org/directory" help:"Authority that gives them, the URL of its ACME directory."`
	Cache     string   `name:"acme-cache" env:"ACME_CACHE" help:"Folder that keeps them, and the key of the account."`
	Plain     string   `name:"http-listen" env:"HTTP_LISTEN" help:"Address for plain HTTP beside HTTPS, host:port: it answers the challenges of ACME and sends everybody else to HTTPS; empty turns it off."`

	// PlainListener is used instead of HTTP_LISTEN where set.
	PlainListener net.Listener `kong:"-"`
}

// Services says where the services are.
type Services struct {
	Auth     string `name:"auth-service-addr" env:"AUTH_SERVICE_ADDR" default:"localhost:7001" help:"auth-service, host:port for gRPC, or several separated by commas."`
	Chat     string `name:"chat-service-addr" env:"CHAT_SERVICE_ADDR" default:"localhost:7002" help:"chat-service, host:port for gRPC, or several separated by commas."`
	Presence string `name:"presence-service-addr" env:"PRESENCE_SERVICE_ADDR" default:"localhost:7003" help:"presence-service, host:port for gRPC, or several separated by commas."`
}

// Protocol are the settings of Engine.IO and Socket.IO that clients are told or notice.
type Protocol struct {
	PingInterval   time.Duration `name:"ping-interval" env:"PING_INTERVAL" default:"25s" help:"Between heartbeats, a duration."`
	PingTimeout    time.Duration `name:"ping-timeout" env:"PING_TIMEOUT" default:"20s" help:"For a client's answer to a heartbeat, a duration."`
	ConnectTimeout time.Duration `name:"connect-timeout" env:"CONNECT_TIMEOUT" default:"45s" help:"From the handshake to the first namespace, a duration."`
	MaxPayload     int           `name:"max-payload" env:"MAX_PAYLOAD" default:"0" help:"Largest packet, in bytes; 0 takes four times MAX_EVENT_BYTES. Before its first CONNECT succeeded a client may send packets of 16 KiB."`
	Unfinished     int           `name:"unfinished-bytes" env:"UNFINISHED_BYTES" default:"67108864" help:"Packets of all connections that have begun to arrive, in bytes; beyond, connections are closed. Half is for clients that have connected to a namespace."`
	MaxAttachments int           `name:"max-attachments" env:"MAX_ATTACHMENTS" default:"10" help:"Most binary attachments of one packet, a number up to 64."`
	MaxDepth       int           `name:"max-json-depth" env:"MAX_JSON_DEPTH" default:"32" help:"Deepest nesting of arrays and objects in an event, a number."`
}

// Limits are the bounds of what one client, or all of them, may take.
type Limits struct {
	EventRate      float64       `name:"event-rate" env:"EVENT_RATE" default:"50" help:"Client events of one socket, per second; 0 sets no limit."`
	EventBurst     int           `name:"event-burst" env:"EVENT_BURST" default:"100" help:"Client events that one socket may send at once, a number."`
	EventBytes     int           `name:"max-event-bytes" env:"MAX_EVENT_BYTES" default:"65536" help:"Arguments of one client event with attachments, in bytes."`
	Rooms          int           `name:"max-rooms" env:"MAX_ROOMS" default:"100" help:"Rooms that one socket may be in, a number."`
	UserSockets    int           `name:"max-user-sockets" env:"MAX_USER_SOCKETS" default:"1000" help:"Sockets of one user at this gateway, a number; 0 sets no limit."`
	UserEvents     float64       `name:"user-event-rate" env:"USER_EVENT_RATE" default:"0" help:"Client events of one user over all sockets of this gateway, per second; 0 takes four times EVENT_RATE, and no limit where that is 0."`
	UserBytes      int           `name:"user-byte-rate" env:"USER_BYTE_RATE" default:"0" help:"Arguments of these events, in bytes a second; 0 takes EVENT_RATE times MAX_EVENT_BYTES."`
	Watches        int           `name:"max-presence-watches" env:"MAX_PRESENCE_WATCHES" default:"1000000" help:"Users and rooms that all sockets watch, and members of those rooms, a number; beyond, clients are told to retry. 1,000,000 take about 150 MB."`
	InboxRooms     int           `name:"inbox-rooms" env:"INBOX_ROOMS" default:"200" help:"Rooms in the inbox of one socket, the last active ones, a number up to 200; 0 turns the inbox off."`
	InboxLinks     int           `name:"max-inbox-rooms" env:"MAX_INBOX_ROOMS" default:"2000000" help:"Rooms in the inboxes of all sockets, a number; beyond, inboxes are told of fewer rooms. 2,000,000 take about 80 MB."`
	Queued         int           `name:"max-queued-events" env:"MAX_QUEUED_EVENTS" default:"64" help:"Client events of one socket that wait for the one before; reading stops beyond. A number."`
	InFlight       int           `name:"max-events-in-flight" env:"MAX_EVENTS_IN_FLIGHT" default:"50000" help:"Client events of all sockets that wait for a service, a number."`
	Waiting        int           `name:"event-queue-bytes" env:"EVENT_QUEUE_BYTES" default:"134217728" help:"Arguments of the client events of all sockets, queued or waiting for a service, in bytes; beyond, events are refused."`
	Handshakes     int           `name:"max-handshakes" env:"MAX_HANDSHAKES" default:"4096" help:"Connections being authenticated, or waiting for auth-service, at once, a number; beyond, clients are told to come back."`
	Connections    int           `name:"max-connections" env:"MAX_CONNECTIONS" default:"0" help:"Sessions of this gateway, and WebSockets that it carries for others, a number; 0 takes what the descriptor limit leaves. Beyond, a newcomer takes the place of the session that has waited the longest without a CONNECT."`
	SendQueueBytes int           `name:"send-queue-bytes" env:"SEND_QUEUE_BYTES" default:"262144" help:"Bytes that wait to be sent to one client; a slower client is closed and recovers."`
	SendBuffer     int           `name:"kernel-send-buffer-bytes" env:"KERNEL_SEND_BUFFER_BYTES" default:"0" help:"Bytes that the kernel takes beside that for one client that does not read; 0 leaves it to the kernel, which takes up to 4 MiB (net.ipv4.tcp_wmem)."`
	FrameTimeout   time.Duration `name:"frame-timeout" env:"FRAME_TIMEOUT" default:"10s" help:"How long a message that has begun may stand still, a duration; each KiB that arrives counts for a second."`
	EventTimeout   time.Duration `name:"event-timeout" env:"EVENT_TIMEOUT" default:"4500ms" help:"For a service to answer a client event, a duration."`
	ClusterTimeout time.Duration `name:"cluster-timeout" env:"CLUSTER_TIMEOUT" default:"1s" help:"For other gateways to answer a cluster operation, a duration; then the answer is partial."`
	ClusterCalls   int           `name:"max-cluster-calls" env:"MAX_CLUSTER_CALLS" default:"256" help:"Cluster operations (emits by other backends, lists of sockets) that this gateway serves at once, a number."`
	ConnectRate    float64       `name:"connect-rate" env:"CONNECT_RATE" default:"5" help:"Namespace CONNECTs of one connection, per second; beyond, it is closed. 0 sets no limit."`
	ConnectBurst   int           `name:"connect-burst" env:"CONNECT_BURST" default:"50" help:"Namespace CONNECTs that one connection may send at once, a number."`
	IPRate         float64       `name:"handshake-rate" env:"HANDSHAKE_RATE" default:"100" help:"Handshakes of one IP address (IPv6: /64), per second; 0 sets no limit. Loopback and LIMIT_EXEMPT_NETWORKS are not limited."`
	AddressConns   int           `name:"max-address-connections" env:"MAX_ADDRESS_CONNECTIONS" default:"1000" help:"HTTP connections (polling, REST, pages) that one IP address may hold, a number; WebSockets do not count. 0 sets no bound of its own; a quarter of what the descriptor limit leaves is the most."`
	Exempt         []string      `name:"limit-exempt-networks" env:"LIMIT_EXEMPT_NETWORKS" help:"Networks (CIDR) whose addresses have no limits (handshakes, connections, logins), separated by commas; loopback has none either."`
	IdleTimeout    time.Duration `name:"http-idle-timeout" env:"HTTP_IDLE_TIMEOUT" default:"650s" help:"How long an HTTP connection may wait for its next request, a duration; longer than a balancer in front keeps its own."`
	IPBurst        int           `name:"handshake-burst" env:"HANDSHAKE_BURST" default:"1000" help:"Handshakes that one IP address may make at once, a number."`
}

// Recovery says how sockets are carried on after their connection broke.
type Recovery struct {
	Window   time.Duration `name:"recovery-window" env:"RECOVERY_WINDOW" default:"2m" help:"After a connection broke in which its client gets what it missed, a duration; 0 turns recovery off."`
	Events   int           `name:"recovery-events" env:"RECOVERY_EVENTS" default:"20000" help:"Missed events that are replayed at most, a number; beyond, the session is a fresh one."`
	Replicas int           `name:"recovery-replicas" env:"RECOVERY_REPLICAS" default:"1" help:"Servers that keep the state of sockets (KV bucket SESSIONS), a number of 1 to 5."`
	Bytes    int64         `name:"recovery-bytes" env:"RECOVERY_BYTES" default:"268435456" help:"Largest size of the state of all sockets (KV bucket SESSIONS), in bytes."`
}

// Drain says how the gateway goes away.
type Drain struct {
	Window time.Duration `name:"drain-window" env:"DRAIN_WINDOW" default:"10s" help:"Over which connections are closed at the end, a duration shorter than SHUTDOWN_TIMEOUT; a second signal cuts it short, and a gateway that hears of no other one skips it."`
}

// maxInboxRooms is the largest page of rooms that chat-service gives.
const maxInboxRooms = 200

// firstPayload is the largest packet of a client that has not shown who it is.
const firstPayload = 16 << 10

// maxPayload is the largest packet: so large that an event over the limit is refused with a word, and its connection stays.
func (c *Config) maxPayload() int {
	if c.Protocol.MaxPayload == 0 {
		return max(4*c.Limits.EventBytes, firstPayload)
	}
	return c.Protocol.MaxPayload
}

// validID is what a gateway may be called: its name stands in session ids and subjects.
var validID = regexp.MustCompile(`^[A-Za-z0-9_-]{0,63}$`)

// Validate tells what is wrong with the settings, one fault a line.
func (c *Config) Validate() error {
	positive := []struct {
		name  string
		value int64
	}{
		{"UNFINISHED_BYTES", int64(c.Protocol.Unfinished)},
		{"MAX_JSON_DEPTH", int64(c.Protocol.MaxDepth)},
		{"EVENT_BURST", int64(c.Limits.EventBurst)},
		{"MAX_ROOMS", int64(c.Limits.Rooms)},
		{"MAX_PRESENCE_WATCHES", int64(c.Limits.Watches)},
		{"MAX_INBOX_ROOMS", int64(c.Limits.InboxLinks)},
		{"MAX_QUEUED_EVENTS", int64(c.Limits.Queued)},
		{"MAX_EVENTS_IN_FLIGHT", int64(c.Limits.InFlight)},
		{"EVENT_QUEUE_BYTES", int64(c.Limits.Waiting)},
		{"MAX_HANDSHAKES", int64(c.Limits.Handshakes)},
		{"MAX_CLUSTER_CALLS", int64(c.Limits.ClusterCalls)},
		{"CONNECT_BURST", int64(c.Limits.ConnectBurst)},
		{"HANDSHAKE_BURST", int64(c.Limits.IPBurst)},
	}
	var faults settings.Faults
	for _, p := range positive {
		faults.If(p.value <= 0, "%s must be above 0", p.name)
	}
	faults.In("LISTEN", settings.CheckAddress(c.Listen.Addr))
	faults.If(len(c.TLS.domains()) > 0 && c.TLS.Cache == "",
		"ACME_DOMAINS needs ACME_CACHE, a folder that outlives the process: authorities give a few certificates a week")
	faults.In("TRANSPORT", c.checkTransport())
	faults.If(!validID.MatchString(c.Listen.ID), "GATEWAY_ID must be up to 63 letters, digits, - and _")
	faults.In("AUTH_SERVICE_ADDR", rpc.CheckTarget(c.Services.Auth))
	faults.In("CHAT_SERVICE_ADDR", rpc.CheckTarget(c.Services.Chat))
	faults.In("PRESENCE_SERVICE_ADDR", rpc.CheckTarget(c.Services.Presence))
	faults.If(c.Protocol.MaxAttachments < 0 || c.Protocol.MaxAttachments > 64, "MAX_ATTACHMENTS must be 0 to 64")
	faults.If(c.Limits.InboxRooms < 0 || c.Limits.InboxRooms > maxInboxRooms, "INBOX_ROOMS must be 0 to %d", maxInboxRooms)
	faults.If(c.Limits.UserSockets < 0 || c.Limits.UserEvents < 0 || c.Limits.UserBytes < 0,
		"MAX_USER_SOCKETS, USER_EVENT_RATE and USER_BYTE_RATE must not be negative")
	faults.If(c.Limits.EventRate < 0 || c.Limits.ConnectRate < 0 || c.Limits.IPRate < 0 || c.Limits.Connections < 0 || c.Limits.SendBuffer < 0 ||
		c.Limits.AddressConns < 0 || c.Drain.Window < 0,
		"EVENT_RATE, CONNECT_RATE, HANDSHAKE_RATE, MAX_CONNECTIONS, MAX_ADDRESS_CONNECTIONS, KERNEL_SEND_BUFFER_BYTES and DRAIN_WINDOW must not be negative")
	faults.If(c.Recovery.Window < 0 || c.Recovery.Events < 1 || c.Recovery.Replicas < 1 || c.Recovery.Replicas > 5 || c.Recovery.Bytes < 1<<20,
		"RECOVERY_WINDOW must not be negative, RECOVERY_EVENTS be 1 or more, RECOVERY_REPLICAS 1 to 5, RECOVERY_BYTES 1048576 or more")
	faults.If(c.Drain.Window >= c.ShutdownTimeout, "DRAIN_WINDOW must be shorter than SHUTDOWN_TIMEOUT")
	_, err := c.public()
	return errors.Join(faults.Err(), c.useless(), err)
}

// public reads how clients and their pages reach the gateway.
func (c *Config) public() (edge.Config, error) {
	var e edge.Config
	var err error
	if e.Path, err = edge.ParsePath(c.Listen.Path); err != nil {
		return e, fmt.Errorf("SOCKETIO_PATH: %q: %w", c.Listen.Path, err)
	}
	if e.TrustedProxies, err = c.trustedProxies(); err != nil {
		return e, err
	}
	if e.Unlimited, err = c.exemptNetworks(); err != nil {
		return e, err
	}
	if e.Origins, err = edge.ParseOrigins(c.Listen.FrontendURLs, e.TrustedProxies); err != nil {
		return e, fmt.Errorf("FRONTEND_URL: %w", err)
	}
	return e, nil
}

// sidKey is the key of session ids. Without any secret the tag only tells typing errors; a sid is still 120 random bits.
func (c *Config) sidKey() []byte { return sidKeyOf(cmp.Or(c.Listen.SIDSecret, c.RPC.Token)) }

// otherSIDKeys are those by which other gateways make session ids while a secret is replaced.
func (c *Config) otherSIDKeys() [][]byte {
	if other := cmp.Or(c.Listen.OtherSIDSecret, c.RPC.Other); other != "" {
		return [][]byte{sidKeyOf(other)}
	}
	return nil
}

func sidKeyOf(secret settings.Secret) []byte {
	key := sha256.Sum256([]byte("starling sid " + secret.Reveal()))
	return key[:]
}

func (c *Config) trustedProxies() ([]netip.Prefix, error) {
	return networks("TRUSTED_PROXIES", c.Listen.TrustedProxies)
}

func (c *Config) exemptNetworks() ([]netip.Prefix, error) {
	return networks("LIMIT_EXEMPT_NETWORKS", c.Limits.Exempt)
}

// networks reads a list of networks; a bare address is a network of its own.
func networks(setting string, list []string) ([]netip.Prefix, error) {
	read := make([]netip.Prefix, 0, len(list))
	for _, s := range list {
		if s = strings.TrimSpace(s); s == "" {
			continue // between two commas
		}
		if addr, err := netip.ParseAddr(s); err == nil {
			read = append(read, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is not a network such as 10.0.0.0/8", setting, s)
		}
		read = append(read, p)
	}
	return read, nil
}

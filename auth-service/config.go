package authservice

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/starling-chat/starling/auth-service/internal/admission"
	"github.com/starling-chat/starling/auth-service/internal/auth"
	"github.com/starling-chat/starling/auth-service/internal/issuers"
	"github.com/starling-chat/starling/platform/bus"
	"github.com/starling-chat/starling/platform/obs"
	"github.com/starling-chat/starling/platform/pg"
	"github.com/starling-chat/starling/platform/rpc"
	"github.com/starling-chat/starling/platform/run"
	"github.com/starling-chat/starling/platform/settings"
	"github.com/starling-chat/starling/proto/caller"
)

// Config holds the settings of auth-service. Fields without a flag are for running it inside another process.
type Config struct {
	run.Common
	Obs       obs.Settings `embed:"" set:"admin_listen=:8081"`
	RPC       rpc.Settings `embed:"" set:"grpc_listen=:7001"`
	NATS      bus.Settings `embed:""`
	Database  pg.Settings  `embed:"" set:"db_schema=auth" set:"db_max_conns=10"` //nolint:staticcheck // kong takes set more than once
	Tokens    Tokens       `embed:""`
	External  External     `embed:""`
	Passwords Passwords    `embed:""`
	Limits    Limits       `embed:""`
	Accounts  Accounts     `embed:""`

	// DemoUsers are created at start unless they exist.
	DemoUsers []DemoUser `kong:"-"`
}

// DemoUser is an account that exists after the start.
type DemoUser struct {
	Username, Password string
	Name               string // the username when empty
	Role               string // user or admin; user when empty
}

// Tokens are the settings of our own tokens and their keys.
type Tokens struct {
	AccessTTL       time.Duration   `name:"access-token-ttl" env:"ACCESS_TOKEN_TTL" default:"15m" help:"Life of an access token, a duration."`
	RefreshTTL      time.Duration   `name:"refresh-token-ttl" env:"REFRESH_TOKEN_TTL" default:"720h" help:"Life of a refresh token that is not used, a duration."`
	Issuer          string          `name:"token-issuer" env:"TOKEN_ISSUER" default:"starling" help:"Issuer (iss) of access tokens."`
	Audience        string          `name:"token-audience" env:"TOKEN_AUDIENCE" default:"starling" help:"Audience (aud) of access tokens."`
	Leeway          time.Duration   `name:"token-leeway" env:"TOKEN_LEEWAY" default:"30s" help:"How far clocks may differ when the times in a token (exp, nbf, iat) are checked, a duration."`
	KeyRotation     time.Duration   `name:"key-rotation" env:"KEY_ROTATION" default:"720h" help:"How long one key signs, a duration."`
	KeyOverlap      time.Duration   `name:"key-overlap" env:"KEY_OVERLAP" default:"1h" help:"How long a key is published before it signs, a duration of 5s at least; longer than other verifiers keep the key set."`
	KeySecret       settings.Secret `name:"key-encryption-secret" env:"KEY_ENCRYPTION_SECRET" help:"Secret that encrypts signing keys in the database; the same in all replicas, and replaced by way of KEY_ENCRYPTION_SECRET_OTHER only. Empty stores them plain."`
	OtherKeySecret  settings.Secret `name:"key-encryption-secret-other" env:"KEY_ENCRYPTION_SECRET_OTHER" help:"A second KEY_ENCRYPTION_SECRET, by which keys are read and not stored, while one replaces the other."`
	KeepRevocations time.Duration   `name:"revocation-retention" env:"REVOCATION_RETENTION" default:"168h" help:"How long the revocation log reaches back for gateways that were cut off, a duration; longer than any token lives."`
}

// External are the settings of tokens that other login systems sign.
type External struct {
	Issuers     settings.Secret `name:"token-issuers" env:"TOKEN_ISSUERS" help:"Accept tokens of these issuers, as a JSON list with issuer, audience and more for each; empty accepts none. See Token issuers in docs/operations.md."`
	KeysRefresh time.Duration   `name:"issuer-keys-refresh" env:"ISSUER_KEYS_REFRESH" default:"5m" help:"How often the public keys of TOKEN_ISSUERS are read, a duration of 10s to 24h; a token with an unknown key has them read at once."`
	Secret      settings.Secret `name:"jwt-secret" env:"JWT_SECRET" help:"Accept HS256 tokens signed with this secret, of 32 bytes at least, by your own login system; empty accepts none."`
	Other       settings.Secret `name:"jwt-secret-other" env:"JWT_SECRET_OTHER" help:"A second JWT_SECRET, whose tokens are accepted as well, while one replaces the other."`
	Issuer      string          `name:"jwt-issuer" env:"JWT_ISSUER" help:"Issuer (iss) that HS256 tokens must have; empty is not checked."`
	Audience    string          `name:"jwt-audience" env:"JWT_AUDIENCE" help:"Audience (aud) that HS256 tokens must have; empty accepts only tokens that name none."`
	RequireExp  bool            `name:"jwt-require-exp" env:"JWT_REQUIRE_EXP" default:"true" negatable:"" help:"Refuse HS256 tokens that never expire."`
	Provision   bool            `name:"auth-auto-provision" env:"AUTH_AUTO_PROVISION" help:"Make a user of an unknown id in a token of JWT_SECRET or TOKEN_ISSUERS; otherwise the answer is User not found."`
}

// Passwords are the costs of hashing passwords.
type Passwords struct {
	MemoryKiB   uint32 `name:"argon2-memory-kib" env:"ARGON2_MEMORY_KIB" default:"65536" help:"Memory of one argon2id hash, in KiB."`
	Time        uint32 `name:"argon2-time" env:"ARGON2_TIME" default:"3" help:"Passes of one argon2id hash, a number."`
	Parallelism uint8  `name:"argon2-parallelism" env:"ARGON2_PARALLELISM" default:"1" help:"Lanes of one argon2id hash, a number; each keeps a core busy."`
	Concurrency int    `name:"argon2-concurrency" env:"ARGON2_CONCURRENCY" default:"0" help:"Hashes computed at once, a number; bounds the memory. 0 takes half of the cores, 4 at most."`
	Queue       int    `name:"argon2-queue" env:"ARGON2_QUEUE" default:"100" help:"Logins that may wait for a hash, a number; beyond, the address that has the most waiting is refused as rate_limited."`

	Wait time.Duration `name:"argon2-wait" env:"ARGON2_WAIT" default:"3s" help:"Longest wait of a login for a hash, a duration of up to 8s; then it is refused as rate_limited."`
}

// Limits bound attempts. They count in each replica on its own.
type Limits struct {
	AccountRate   float64 `name:"login-account-rate" env:"LOGIN_ACCOUNT_RATE" default:"10" help:"Failed logins of one username from one IP address (IPv6: /64), per minute; 0 is no limit."`
	AccountBurst  int     `name:"login-account-burst" env:"LOGIN_ACCOUNT_BURST" default:"10" help:"Failed logins of one username from one IP address at once, a number."`
	UserRate      float64 `name:"login-user-rate" env:"LOGIN_USER_RATE" default:"30" help:"Failed logins of one username from all IP addresses from which it has not logged in before, per minute; 0 is no limit."`
	UserBurst     int     `name:"login-user-burst" env:"LOGIN_USER_BURST" default:"200" help:"Failed logins of one username from all those IP addresses at once, a number."`
	AddressRate   float64 `name:"login-address-rate" env:"LOGIN_ADDRESS_RATE" default:"60" help:"Logins from one IP address (IPv6: /64), per minute; 0 is no limit. Loopback and LIMIT_EXEMPT_NETWORKS are not limited, nor are users who have logged in from there before."`
	AddressBurst  int     `name:"login-address-burst" env:"LOGIN_ADDRESS_BURST" default:"100" help:"Logins from one IP address at once, a number."`
	RegisterRate  float64 `name:"register-address-rate" env:"REGISTER_ADDRESS_RATE" default:"20" help:"Registrations from one IP address (IPv6: /64), per minute; 0 is no limit. Loopback and LIMIT_EXEMPT_NETWORKS are not limited."`
	RegisterBurst int     `name:"register-address-burst" env:"REGISTER_ADDRESS_BURST" default:"50" help:"Registrations from one IP address at once, a number."`
	GuestRate     float64 `name:"guest-address-rate" env:"GUEST_ADDRESS_RATE" default:"20" help:"New guests from one IP address (IPv6: /64), per minute; 0 is no limit. Loopback and LIMIT_EXEMPT_NETWORKS are not limited."`
	GuestBurst    int     `name:"guest-address-burst" env:"GUEST_ADDRESS_BURST" default:"50" help:"New guests from one IP address at once, a number."`
	SecretRate    float64 `name:"wrong-token-address-rate" env:"WRONG_TOKEN_ADDRESS_RATE" default:"60" help:"Wrong refresh tokens and API keys from one IP address (IPv6: /64), per minute; 0 is no limit. Loopback and LIMIT_EXEMPT_NETWORKS are not limited, nor are tokens and keys that have been right before."`
	SecretBurst   int     `name:"wrong-token-address-burst" env:"WRONG_TOKEN_ADDRESS_BURST" default:"100" help:"Wrong refresh tokens and API keys from one IP address at once, a number."`

	Exempt []string `name:"limit-exempt-networks" env:"LIMIT_EXEMPT_NETWORKS" help:"Networks (CIDR) whose addresses have no limits (handshakes, connections, logins), separated by commas; loopback has none either."`
}

// Accounts says who exists and who may come.
type Accounts struct {
	Registration  *bool           `name:"registration" env:"REGISTRATION" negatable:"" help:"Let everyone register. Unless it is said, only where PUBLISHED_ADDRESS is this machine's own and no other issuer's tokens are accepted."`
	Published     string          `name:"published-address" env:"PUBLISHED_ADDRESS" help:"IP address or host on which clients reach the gateways, where it is known; it decides whether everyone may register unless REGISTRATION says so."`
	Guests        bool            `name:"guests" env:"GUESTS" help:"Let in guests, who need no account and may do less (POST /api/v1/auth/guest). Otherwise there are none, and those that there were are kept out."`
	GuestTTL      time.Duration   `name:"guest-ttl" env:"GUEST_TTL" default:"24h" help:"Life of a guest who does not come back (of its refresh token), a duration; then the guest is forgotten."`
	APIKey        settings.Secret `name:"api-key" env:"API_KEY" help:"API key named default with all scopes, 16 to 256 bytes; empty leaves the keys as they are."`
	AdminUsername string          `name:"admin-username" env:"ADMIN_USERNAME" help:"User that is an admin: created, or promoted with this password and logged out everywhere."`
	AdminPassword settings.Secret `name:"admin-password" env:"ADMIN_PASSWORD" help:"Password for the admin, used only when it is created or promoted."`
}

const (
	// minKeyOverlap leaves replicas the time to load a key before it signs.
	minKeyOverlap = 5 * time.Second
	// minJWTSecret is as many bytes as the hash of HS256 has (RFC 7518, 3.2).
	minJWTSecret = 32
	minAPIKey    = 16
	// maxHashWait leaves a login the time to be answered before the gateway's patience with REST ends, at 10 s.
	maxHashWait = 8 * time.Second
)

// tooShort tells whether a secret that is given can be guessed.
func tooShort(s settings.Secret, least int) bool { return s != "" && len(s.Reveal()) < least }

// concurrency is how many hashes are computed at once. A hash with one lane keeps a core busy: half of them is left to all else
// that runs there, whoever floods the logins.
func (p Passwords) concurrency() int {
	return cmp.Or(p.Concurrency, min(4, max(1, runtime.GOMAXPROCS(0)/2)))
}

// Validate finds settings that do not fit together; one fault a line.
func (c *Config) Validate() error {
	t, p, l := c.Tokens, c.Passwords, c.Limits
	var faults settings.Faults
	faults.If(t.AccessTTL < time.Second, "ACCESS_TOKEN_TTL must be at least 1s")
	faults.If(t.RefreshTTL < t.AccessTTL, "REFRESH_TOKEN_TTL must not be shorter than ACCESS_TOKEN_TTL")
	faults.If(t.Leeway < 0 || t.Leeway > 10*time.Minute, "TOKEN_LEEWAY must be 0s to 10m")
	faults.If(t.Issuer == "" || t.Audience == "", "TOKEN_ISSUER and TOKEN_AUDIENCE must not be empty")
	faults.If(t.KeyOverlap < minKeyOverlap, "KEY_OVERLAP must be at least %s", minKeyOverlap)
	faults.If(t.KeyRotation <= t.KeyOverlap, "KEY_ROTATION must be longer than KEY_OVERLAP")
	faults.If(t.KeepRevocations < t.AccessTTL+2*t.Leeway, "REVOCATION_RETENTION must be longer than ACCESS_TOKEN_TTL and twice TOKEN_LEEWAY")
	faults.If(p.Parallelism < 1 || p.Time < 1 || p.Time > 100 || p.MemoryKiB < 8*uint32(p.Parallelism) || p.MemoryKiB > 4<<20,
		"ARGON2_TIME must be 1 to 100, ARGON2_PARALLELISM at least 1, ARGON2_MEMORY_KIB 8 times that to 4194304")
	faults.If(p.Concurrency < 0 || p.Queue < 0, "ARGON2_CONCURRENCY and ARGON2_QUEUE must not be negative")
	faults.If(p.Wait <= 0 || p.Wait > maxHashWait, "ARGON2_WAIT must be above 0s and at most %s", maxHashWait)
	faults.If(min(l.AccountRate, l.UserRate, l.AddressRate, l.RegisterRate, l.GuestRate, l.SecretRate) < 0,
		"LOGIN_ACCOUNT_RATE, LOGIN_USER_RATE, LOGIN_ADDRESS_RATE, REGISTER_ADDRESS_RATE, GUEST_ADDRESS_RATE and WRONG_TOKEN_ADDRESS_RATE must not be negative")
	faults.If(min(l.AccountBurst, l.UserBurst, l.AddressBurst, l.RegisterBurst, l.GuestBurst, l.SecretBurst) < 1,
		"LOGIN_ACCOUNT_BURST, LOGIN_USER_BURST, LOGIN_ADDRESS_BURST, REGISTER_ADDRESS_BURST, GUEST_ADDRESS_BURST and WRONG_TOKEN_ADDRESS_BURST must be at least 1")
	faults.If(c.Accounts.GuestTTL < t.AccessTTL, "GUEST_TTL must not be shorter than ACCESS_TOKEN_TTL")
	faults.If((c.Accounts.AdminUsername == "") != (c.Accounts.AdminPassword == ""),
		"ADMIN_USERNAME and ADMIN_PASSWORD must be given together")
	faults.If(c.External.Provision && c.External.Secret == "" && c.External.Issuers == "",
		"AUTH_AUTO_PROVISION needs JWT_SECRET or TOKEN_ISSUERS")
	faults.If(c.External.KeysRefresh < 10*time.Second || c.External.KeysRefresh > 24*time.Hour, "ISSUER_KEYS_REFRESH must be 10s to 24h")
	faults.If(tooShort(c.External.Secret, minJWTSecret) || tooShort(c.External.Other, minJWTSecret),
		"JWT_SECRET and JWT_SECRET_OTHER must have at least %d bytes: with one token at hand a shorter one can be guessed (make one: openssl rand -hex 32)", minJWTSecret)
	faults.If(tooShort(c.Accounts.APIKey, minAPIKey),
		"API_KEY must have at least %d bytes: a shorter one can be guessed (make one: openssl rand -hex 32)", minAPIKey)
	faults.If(c.External.Other != "" && c.External.Secret == "", "JWT_SECRET_OTHER needs JWT_SECRET")
	faults.In("TOKEN_ISSUERS", c.checkIssuers())
	faults.In("ADMIN_USERNAME, ADMIN_PASSWORD, API_KEY or demo user", c.seed().Check())
	_, err := c.exempt()
	return errors.Join(faults.Err(), err)
}

// registration tells whether everyone may register. Where nothing was said, strangers may not come in, and where another login system
// says who there is, it is the only one that does.
func (c *Config) registration() bool {
	if c.Accounts.Registration != nil {
		return *c.Accounts.Registration
	}
	host := strings.Trim(c.Accounts.Published, "[]")
	ip, err := netip.ParseAddr(host)
	own := host == "localhost" || err == nil && ip.Unmap().IsLoopback()
	return own && c.External.Secret == "" && c.External.Issuers == ""
}

// exempt reads the networks that have no limits; a bare address is a network of its own.
func (c *Config) exempt() ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, 0, len(c.Limits.Exempt))
	for _, s := range c.Limits.Exempt {
		s = strings.TrimSpace(s)
		if ip, err := netip.ParseAddr(s); err == nil {
			networks = append(networks, netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()))
			continue
		}
		network, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("LIMIT_EXEMPT_NETWORKS: %q is not a network such as 10.0.0.0/8", s)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

func (c *Config) seed() auth.Seed {
	seed := auth.Seed{APIKey: c.Accounts.APIKey.Reveal(), Scopes: caller.AllScopes()}
	for _, u := range c.DemoUsers {
		role := auth.Role(u.Role)
		if role == "" {
			role = auth.RoleUser
		}
		seed.Users = append(seed.Users, auth.SeedUser{Username: u.Username, Password: u.Password, Name: u.Name, Role: role})
	}
	if c.Accounts.AdminUsername != "" {
		seed.Admin = &auth.SeedUser{
			Username: c.Accounts.AdminUsername, Password: c.Accounts.AdminPassword.Reveal(), Role: auth.RoleAdmin,
		}
	}
	return seed
}

// domain gives the settings the form that package auth takes.
func (c *Config) domain(others *issuers.Set) auth.Config {
	limit := func(rate float64, burst int) admission.Limit { return admission.Limit{PerMinute: rate, Burst: burst} }
	exempt, _ := c.exempt() // Validate has read it
	return auth.Config{
		Tokens: auth.Tokens{
			AccessTTL: c.Tokens.AccessTTL, RefreshTTL: c.Tokens.RefreshTTL,
			Issuer: c.Tokens.Issuer, Audience: c.Tokens.Audience, Leeway: c.Tokens.Leeway,
		},
		Issuers: others,
		Keys:    auth.Keys{Rotation: c.Tokens.KeyRotation, Overlap: c.Tokens.KeyOverlap, Secret: c.Tokens.KeySecret.Reveal(), Other: c.Tokens.OtherKeySecret.Reveal()},
		Passwords: auth.Passwords{
			Argon2:      auth.Argon2{MemoryKiB: c.Passwords.MemoryKiB, Time: c.Passwords.Time, Threads: c.Passwords.Parallelism},
			Concurrency: c.Passwords.concurrency(), Queue: c.Passwords.Queue, Wait: c.Passwords.Wait,
		},
		Registration: c.registration(),
		Guests:       auth.Guests{On: c.Accounts.Guests, TTL: c.Accounts.GuestTTL},
		Limits: admission.Limits{
			Account: limit(c.Limits.AccountRate, c.Limits.AccountBurst), User: limit(c.Limits.UserRate, c.Limits.UserBurst),
			Address: limit(c.Limits.AddressRate, c.Limits.AddressBurst), Register: limit(c.Limits.RegisterRate, c.Limits.RegisterBurst),
			Guest: limit(c.Limits.GuestRate, c.Limits.GuestBurst), Secret: limit(c.Limits.SecretRate, c.Limits.SecretBurst),
			Exempt: exempt,
		},
		KeepRevocations: c.Tokens.KeepRevocations,
		Seed:            c.seed(),
	}
}

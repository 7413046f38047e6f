package auth

import (
	"context"
	"errors"
	"time"
)

// What a Store answers besides faults.
var (
	ErrUserNotFound  = errors.New("user not found")
	ErrUsernameTaken = errors.New("username is taken")
	ErrTokenUnknown  = errors.New("refresh token is unknown, expired or of an ended login")
	ErrStale         = errors.New("the user changed meanwhile")
	ErrKeyUnknown    = errors.New("api key is unknown")
)

// Store keeps everything that must survive. Its clock is the one that all replicas share. Implementations give
// fault.Unavailable while the database is away.
type Store interface {
	UserStore
	LoginStore
	RevocationStore
	KeyStore

	// Prune removes what no longer matters: expired logins, old revocations, and salts by which no living token is found any
	// more. It returns how many rows.
	Prune(ctx context.Context, keepRevocations time.Duration) (int64, error)
}

// UserStore keeps users.
type UserStore interface {
	// CreateUser fails with ErrUsernameTaken.
	CreateUser(ctx context.Context, u User, passwordHash string) error
	// Provision creates users of other login systems. It gives each as it is stored, in the order of users, or one without an ID when it exists
	// already, also when it exists as deleted.
	Provision(ctx context.Context, users []User) ([]User, error)
	// DatedAhead has every later revocation of the user cover tokens issued up to a time that the clock has not reached. It gives
	// the user as of now, or fails with ErrUserNotFound.
	DatedAhead(ctx context.Context, id UserID, issued time.Time) (User, error)
	// Describe has the user called as a token says, and where that is nobody who registered here, of the role that it says. It gives
	// the user as of now, or fails with ErrStale when a token that was issued later has described the user, or there is none.
	Describe(ctx context.Context, id UserID, d Description) (User, error)
	// Credentials fails with ErrUserNotFound.
	Credentials(ctx context.Context, username string) (u User, passwordHash string, err error)
	// ReplaceHash stores a stronger hash of the same password unless the password changed meanwhile.
	ReplaceHash(ctx context.Context, id UserID, old, replacement string) error
	// ChangePassword replaces a hash by that of another password and ends all logins but one; ErrStale when the hash is another one.
	ChangePassword(ctx context.Context, id UserID, keep LoginID, old, replacement string) (ended []Revocation, err error)
	// SetPassword replaces a user's password, whatever it was, and revokes all tokens; ErrUserNotFound for users who have none.
	SetPassword(ctx context.Context, id UserID, passwordHash string) (Revocation, error)
	// Promote makes a user an admin with a new password and revokes all its tokens; ErrStale when it is one.
	Promote(ctx context.Context, id UserID, passwordHash string) (Revocation, error)
	// Users leaves unknown ones out.
	Users(ctx context.Context, ids []UserID) ([]User, error)
}

// Grant is what a new access token is made from.
type Grant struct {
	User    User
	LoginID LoginID
	// IssuedAt is the store's clock, whole milliseconds, not before User.RevokedAt.
	IssuedAt time.Time
}

// Spending asks to spend a refresh token in favour of its successor by Salt.
type Spending struct {
	Token TokenHash
	Salt  []byte
	// Descendant is the token that comes of Token by salt after salt.
	Descendant func(salts [][]byte) TokenHash
	TTL        time.Duration // life of the successor
	Guests     Guests        // and of that of a guest, if guests are let in
	Grace      time.Duration // a token spent less than this ago gets its newest descendant
}

// Rotation is the outcome of spending a refresh token.
type Rotation struct {
	Grant
	// Salts lead from the token to its newest descendant, the one that is not spent: the salt given, or those of earlier uses.
	Salts [][]byte
	// Reused tells that the token was spent before the grace and its successor as well; the login has been ended by Revocation.
	Reused     bool
	Revocation Revocation
}

// Who is whose state is asked for.
type Who struct {
	User  UserID
	Login LoginID // "" when the token is of no login
}

// State is what a verified access token is checked against.
type State struct {
	User User
	// LoginAlive is false when the login ended, expired or is none of the user's.
	LoginAlive bool
}

// NewLogin is a login that begins.
type NewLogin struct {
	ID      LoginID
	Token   TokenHash // the first refresh token
	TTL     time.Duration
	Address string // of the client; "" when unknown
}

// LoginStore keeps logins and hashes of refresh tokens.
type LoginStore interface {
	// BeginLogin starts a login with its first refresh token; ErrStale when the user's generation or password is another one.
	BeginLogin(ctx context.Context, u User, l NewLogin) (Grant, error)
	// BeginGuest creates a guest together with its login.
	BeginGuest(ctx context.Context, u User, l NewLogin) (Grant, error)
	// Rotate spends a token in favour of its successor. ErrTokenUnknown when it cannot be spent, ErrNoGuests when it is not because it is a
	// guest's.
	Rotate(ctx context.Context, s Spending) (Rotation, error)
	// EndLogin ends the login of a refresh token, spent or not; ErrTokenUnknown when there is none, or it has ended.
	EndLogin(ctx context.Context, token TokenHash) (Revocation, error)
	// States gives the state of each, in the order of whose. Where there is no such user that has a User without an ID.
	States(ctx context.Context, whose []Who) ([]State, error)
}

// Revocation ends tokens before their time.
type Revocation struct {
	ID        int64 // position in the log; ids are contiguous and visible in order
	UserID    UserID
	LoginID   LoginID // "" = all tokens of the user issued before RevokedAt
	RevokedAt time.Time
	// Generation is not 0 where the user is let in no more: the revocation then covers also every token, whenever it was issued, that was
	// judged by the user of an older generation. Another login system goes on to issue tokens, and a replica may have judged one by what
	// it remembered.
	Generation int64
}

// RevocationPage is a part of the revocation log.
type RevocationPage struct {
	Revocations []Revocation // oldest first
	NewestID    int64
	Now         time.Time
}

// RevocationStore keeps the revocation log.
type RevocationStore interface {
	// RevokeUser ends all tokens and logins of a user; ErrUserNotFound.
	RevokeUser(ctx context.Context, id UserID) (Revocation, error)
	// Revocations lists at most limit of those after a position, as of one moment.
	Revocations(ctx context.Context, after int64, limit int) (RevocationPage, error)
	// Unannounced lists revocations older than age that nobody marked as announced.
	Unannounced(ctx context.Context, age time.Duration, limit int) ([]Revocation, error)
	MarkAnnounced(ctx context.Context, ids []int64) error
}

// StoredKey is a signing key at rest.
type StoredKey struct {
	ID string
	// Private is the Ed25519 seed, or the sealed seed.
	Private   []byte
	Sealed    bool
	SignsFrom time.Time
}

// KeyEdit changes the signing keys; Put inserts or replaces.
type KeyEdit struct {
	Put    []StoredKey
	Remove []string
}

// APIKey lets another backend in.
type APIKey struct {
	Name    string
	Scopes  []string
	Expires time.Time // zero when it does not end
}

func (k APIKey) ended() bool { return !k.Expires.IsZero() && !time.Now().Before(k.Expires) }

// KeyStore keeps signing keys and API keys.
type KeyStore interface {
	// SigningKeys lists all keys by SignsFrom, and the store's time.
	SigningKeys(ctx context.Context) ([]StoredKey, time.Time, error)
	// EditSigningKeys lets plan decide while no other replica can, and returns the keys after it.
	EditSigningKeys(ctx context.Context, plan func(have []StoredKey, now time.Time) (KeyEdit, error)) ([]StoredKey, error)
	// APIKey fails with ErrKeyUnknown.
	APIKey(ctx context.Context, hash TokenHash) (APIKey, error)
	// KeyUsed notes that a key was shown.
	KeyUsed(ctx context.Context, hash TokenHash) error
	// PutAPIKey inserts or replaces the key of that name.
	PutAPIKey(ctx context.Context, key APIKey, hash TokenHash) error
}

// Announcer tells gateways and other replicas about revocations.
type Announcer interface {
	// Announce returns once the bus has the revocation.
	Announce(ctx context.Context, r Revocation) error
	// AnnounceAndCount also collects how many sockets were closed.
	AnnounceAndCount(ctx context.Context, r Revocation) (closed int, err error)
	// AnnounceName tells who shows names to others that a user has another one. What is not heard now is announced again.
	AnnounceName(ctx context.Context, u User)
}

package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/starling-chat/starling/auth-service/internal/admission"
)

const (
	saltSize = 16
	hashSize = 32
	// maxStoredMemory and maxStoredTime bound what a stored hash may ask for.
	maxStoredMemory = 4 << 20 // KiB
	maxStoredTime   = 100
)

// Argon2 is the cost of one password hash.
type Argon2 struct {
	MemoryKiB uint32
	Time      uint32 // passes
	Threads   uint8
}

// Passwords says what hashing may cost altogether.
type Passwords struct {
	Argon2 Argon2
	// Concurrency is how many hashes are computed at once; memory is Concurrency * MemoryKiB.
	Concurrency int
	// Queue is how many more requests may wait for that, Wait how long one of them may.
	Queue int
	Wait  time.Duration
}

// hasher computes argon2id hashes, a bounded number at once.
type hasher struct {
	params Argon2
	turns  *admission.Turns
	// dummy is verified for unknown users, so that they take as long as known ones. No password fits it.
	dummy string
}

func newHasher(p Passwords) *hasher {
	return &hasher{
		params: p.Argon2,
		turns:  admission.NewTurns(p.Concurrency, p.Queue, p.Wait),
		dummy:  encodeHash(p.Argon2, randomBytes(saltSize), randomBytes(hashSize)),
	}
}

// hash gives the PHC string of a password: $argon2id$v=19$m=65536,t=3,p=1$<salt>$<hash>.
func (h *hasher) hash(ctx context.Context, by admission.Party, p password) (string, error) {
	salt := randomBytes(saltSize)
	sum, err := h.compute(ctx, by, h.params, p, salt, hashSize)
	if err != nil {
		return "", err
	}
	return encodeHash(h.params, salt, sum), nil
}

// verify tells whether a password fits, and whether the hash was made with other costs than today's.
func (h *hasher) verify(ctx context.Context, by admission.Party, p password, encoded string) (ok, stale bool, err error) {
	params, salt, want, err := decodeHash(encoded)
	if err != nil {
		return false, false, err
	}
	got, err := h.compute(ctx, by, params, p, salt, uint32(len(want))) //nolint:gosec // decodeHash bounds it
	if err != nil {
		return false, false, err
	}
	stale = params != h.params || len(salt) != saltSize || len(want) != hashSize
	return subtle.ConstantTimeCompare(got, want) == 1, stale, nil
}

// compute waits for a turn; the faults are those of turns.Acquire.
func (h *hasher) compute(ctx context.Context, by admission.Party, a Argon2, p password, salt []byte, size uint32) ([]byte, error) {
	if err := h.turns.Acquire(ctx, by); err != nil {
		return nil, err
	}
	defer h.turns.Release()
	return argon2.IDKey([]byte(p), salt, a.Time, a.MemoryKiB, a.Threads, size), nil
}

func encodeHash(p Argon2, salt, sum []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.MemoryKiB, p.Time, p.Threads,
		b64.EncodeToString(salt), b64.EncodeToString(sum))
}

var errHashFormat = errors.New("stored password hash is not an argon2id PHC string")

func decodeHash(encoded string) (p Argon2, salt, sum []byte, err error) {
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, nil, nil, errHashFormat
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.MemoryKiB, &p.Time, &p.Threads); err != nil {
		return p, nil, nil, errHashFormat
	}
	b64 := base64.RawStdEncoding.Strict()
	salt, saltErr := b64.DecodeString(parts[4])
	sum, sumErr := b64.DecodeString(parts[5])
	switch {
	case saltErr != nil, sumErr != nil, len(salt) < 8, len(sum) < 16, len(salt) > 64, len(sum) > 64,
		p.Time < 1, p.Time > maxStoredTime, p.Threads < 1, p.MemoryKiB > maxStoredMemory:
		return p, nil, nil, errHashFormat
	}
	return p, salt, sum, nil
}

// randomBytes never fails: crypto/rand ends the process where the system has no randomness.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

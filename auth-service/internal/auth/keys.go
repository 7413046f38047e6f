package auth

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starling-chat/starling/proto/fault"
)

const (
	// unknownKeyPause is the least time between two reloads that tokens with unknown keys cause.
	unknownKeyPause = time.Second
	// keyIDSize is the length of a key id: a thumbprint in base64.
	keyIDSize = 43
)

// Keys says how the signing keys live.
//
//	            created, published    signs             superseded         removed
//	key 1   ────┤first start: at once ├─────────────────┤ verifies ─ keep ─┤
//	key 2                       ├──── Overlap ──────────┤ signs …
//	                                  every Rotation
type Keys struct {
	Rotation time.Duration // how long one key signs
	Overlap  time.Duration // how long a key is published before it signs
	// Secret seals private keys at rest; "" stores them plain.
	Secret string
	// Other is a secret by which keys are opened as well, and sealed by Secret then: while one replaces the other. "" = none.
	Other string
}

// keyRing holds the keys in memory; the store shares them between replicas.
type keyRing struct {
	cfg   Keys
	keep  time.Duration // a superseded key verifies that long: the life of a token
	store KeyStore
	log   *slog.Logger
	seal  cipher.AEAD // nil without Secret
	other cipher.AEAD // nil without Other

	set atomic.Pointer[keySet]

	mu       sync.Mutex // guards reloaded; held during a reload for an unknown key, so that one reload serves all
	reloaded time.Time
}

type signingKey struct {
	id        string
	private   ed25519.PrivateKey
	signsFrom time.Time
}

// keySet never changes once it is published.
type keySet struct {
	keys []signingKey // by signsFrom
	jwks []byte
}

func newKeyRing(cfg Keys, keep time.Duration, store KeyStore, log *slog.Logger) (*keyRing, error) {
	r := &keyRing{cfg: cfg, keep: keep, store: store, log: log}
	var err error
	if r.seal, err = sealOf(cfg.Secret); err != nil {
		return nil, err
	}
	if r.other, err = sealOf(cfg.Other); err != nil {
		return nil, err
	}
	return r, nil
}

// sealOf makes the cipher that seals keys by a secret; nil without one.
func sealOf(secret string) (cipher.AEAD, error) {
	if secret == "" {
		return nil, nil
	}
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "starling signing keys v1", 32)
	if err != nil {
		return nil, fmt.Errorf("derive the key that seals signing keys: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make cipher for signing keys: %w", err)
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make cipher for signing keys: %w", err)
	}
	return seal, nil
}

// refresh loads the keys and does what is due: the first key, the next one, removal of the last but one.
func (r *keyRing) refresh(ctx context.Context) error {
	stored, now, err := r.store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("load signing keys: %w", err)
	}
	if edit, err := r.plan(stored, now); err != nil {
		return err
	} else if len(edit.Put)+len(edit.Remove) > 0 {
		// The plan is made again under the lock: another replica may have done the same just now.
		if stored, err = r.store.EditSigningKeys(ctx, r.plan); err != nil {
			return fmt.Errorf("change signing keys: %w", err)
		}
		r.log.LogAttrs(ctx, slog.LevelInfo, "signing keys changed",
			slog.Int("put", len(edit.Put)), slog.Int("removed", len(edit.Remove)), slog.Int("keys", len(stored)))
	}
	return r.install(stored)
}

// plan tells what has to change in the stored keys, which are ordered by SignsFrom.
func (r *keyRing) plan(have []StoredKey, now time.Time) (KeyEdit, error) {
	var edit KeyEdit
	for i, k := range have {
		// Used to sign until the next one took over, and needed until the last token of that time has ended.
		if i+1 < len(have) && !have[i+1].SignsFrom.Add(r.keep).After(now) {
			edit.Remove = append(edit.Remove, k.ID)
			continue
		}
		if r.seal == nil || k.Sealed && unsealed(k, r.seal) != nil {
			continue
		}
		// Stored before there was a KEY_ENCRYPTION_SECRET, or by another one.
		plain, err := r.open(k)
		if err != nil {
			return KeyEdit{}, err
		}
		sealed, err := r.atRest(plain.private, k.SignsFrom)
		if err != nil {
			return KeyEdit{}, err
		}
		edit.Put = append(edit.Put, sealed)
	}
	signsFrom := now
	if n := len(have); n > 0 {
		signsFrom = have[n-1].SignsFrom.Add(r.cfg.Rotation)
		if now.Before(signsFrom.Add(-r.cfg.Overlap)) {
			return edit, nil
		}
		// After a long stop the rotation is overdue, but the key is still published before it signs.
		if earliest := now.Add(r.cfg.Overlap); signsFrom.Before(earliest) {
			signsFrom = earliest
		}
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return KeyEdit{}, fmt.Errorf("make signing key: %w", err)
	}
	key, err := r.atRest(private, signsFrom)
	edit.Put = append(edit.Put, key)
	return edit, err
}

// atRest gives a key its form at rest. The key id is authenticated with the sealed seed.
func (r *keyRing) atRest(private ed25519.PrivateKey, signsFrom time.Time) (StoredKey, error) {
	public, ok := private.Public().(ed25519.PublicKey)
	if !ok {
		return StoredKey{}, errors.New("signing key is not Ed25519")
	}
	k := StoredKey{ID: keyID(public), Private: private.Seed(), SignsFrom: signsFrom}
	if r.seal != nil {
		k.Private, k.Sealed = r.seal.Seal(nil, nil, k.Private, []byte(k.ID)), true //nolint:gosec // the cipher draws the nonce itself
	}
	return k, nil
}

func (r *keyRing) open(k StoredKey) (signingKey, error) {
	seed := k.Private
	if k.Sealed {
		if r.seal == nil && r.other == nil {
			return signingKey{}, fmt.Errorf("signing key %s is encrypted and there is no KEY_ENCRYPTION_SECRET", k.ID)
		}
		if seed = unsealed(k, r.seal, r.other); seed == nil {
			return signingKey{}, fmt.Errorf("signing key %s was encrypted with another KEY_ENCRYPTION_SECRET", k.ID)
		}
	}
	if len(seed) != ed25519.SeedSize {
		return signingKey{}, fmt.Errorf("signing key %s is damaged", k.ID)
	}
	return signingKey{id: k.ID, private: ed25519.NewKeyFromSeed(seed), signsFrom: k.SignsFrom}, nil
}

// unsealed is the seed in a sealed key, by whichever of the ciphers that there are has sealed it; nil if none has.
func unsealed(k StoredKey, ciphers ...cipher.AEAD) []byte {
	for _, c := range ciphers {
		if c == nil {
			continue
		}
		if seed, err := c.Open(nil, nil, k.Private, []byte(k.ID)); err == nil {
			return seed
		}
	}
	return nil
}

// jwk is one public key, RFC 8037.
type jwk struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv"`
	Algorithm string `json:"alg"`
	Use       string `json:"use"`
	ID        string `json:"kid"`
	X         string `json:"x"`
}

func (r *keyRing) install(stored []StoredKey) error {
	set := &keySet{}
	public := make([]jwk, 0, len(stored))
	for _, s := range stored {
		k, err := r.open(s)
		if err != nil {
			return err
		}
		set.keys = append(set.keys, k)
		public = append(public, jwk{"OKP", "Ed25519", "EdDSA", "sig", k.id, encodePublic(k.public())})
	}
	var err error
	if set.jwks, err = json.Marshal(map[string][]jwk{"keys": public}); err != nil {
		return fmt.Errorf("write key set: %w", err)
	}
	r.set.Store(set)
	return nil
}

func (k signingKey) public() ed25519.PublicKey {
	return ed25519.PublicKey(k.private[ed25519.SeedSize:])
}

func encodePublic(k ed25519.PublicKey) string { return base64.RawURLEncoding.EncodeToString(k) }

// keyID is the thumbprint of RFC 7638: the members in alphabetical order.
func keyID(k ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + encodePublic(k) + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// current is Unavailable until the keys have been loaded once.
func (r *keyRing) current() (*keySet, error) {
	if set := r.set.Load(); set != nil {
		return set, nil
	}
	return nil, fault.Retry(fault.Unavailable, "Service unavailable", time.Second)
}

// signer is the key for tokens issued at that time.
func (r *keyRing) signer(at time.Time) (signingKey, error) {
	set, err := r.current()
	if err != nil {
		return signingKey{}, err
	}
	for _, key := range slices.Backward(set.keys) {
		if !key.signsFrom.After(at) {
			return key, nil
		}
	}
	if len(set.keys) == 0 {
		return signingKey{}, errors.New("there is no signing key")
	}
	return set.keys[0], nil // made by a replica whose database clock jumped
}

var errKeyUnknown = errors.New("signing key is unknown")

// verifier finds a public key by id. An unknown one may be another replica's newest, so the keys are loaded again, but not
// for every forged token.
func (r *keyRing) verifier(ctx context.Context, id string) (ed25519.PublicKey, error) {
	if len(id) != keyIDSize {
		return nil, errKeyUnknown
	}
	if k, ok := r.find(id); ok {
		return k, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.find(id); ok {
		return k, nil
	}
	if time.Since(r.reloaded) < unknownKeyPause {
		return nil, errKeyUnknown
	}
	stored, _, err := r.store.SigningKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("load signing keys for an unknown one: %w", err)
	}
	r.reloaded = time.Now()
	if err := r.install(stored); err != nil {
		return nil, err
	}
	if k, ok := r.find(id); ok {
		return k, nil
	}
	return nil, errKeyUnknown
}

func (r *keyRing) find(id string) (ed25519.PublicKey, bool) {
	set := r.set.Load()
	if set == nil {
		return nil, false
	}
	for _, k := range set.keys {
		if k.id == id {
			return k.public(), true
		}
	}
	return nil, false
}

package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/starling-chat/starling/auth-service/internal/issuers"
)

const (
	// maxKeys bounds the keys of an issuer.
	maxKeys = 100
	// Bounds of an RSA modulus, in bits (RFC 7518, 3.3).
	minModulus, maxModulus = 2048, 8192
)

// set is keys as they were read. It never changes.
type set struct {
	keys    []key
	skipped int // keys in the document that are for something else, or are not understood
}

// key is a public key that may sign tokens of one algorithm.
type key struct {
	id, algorithm string
	public        interface{ Equal(crypto.PublicKey) bool }
}

// find finds a key by its id, or the only one of an algorithm when there is no id.
func (s *set) find(id, algorithm string) (crypto.PublicKey, bool) {
	if s == nil {
		return nil, false
	}
	var fitting []key
	for _, k := range s.keys {
		if k.algorithm == algorithm && (id == "" || k.id == id) {
			fitting = append(fitting, k)
		}
	}
	if len(fitting) == 0 || id == "" && len(fitting) > 1 {
		return nil, false
	}
	return fitting[0].public, true
}

func (s *set) same(other *set) bool {
	return slices.EqualFunc(s.keys, other.keys, func(a, b key) bool {
		return a.id == b.id && a.algorithm == b.algorithm && a.public.Equal(b.public)
	})
}

// parse reads a key set. Keys for other purposes and of kinds that are not accepted are skipped; without any that is left the
// document is of no use.
func parse(raw []byte) (*set, error) {
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(raw, &document); err != nil {
		return nil, fmt.Errorf("it is no key set: %w", err)
	}
	if len(document.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has more than %d keys", maxKeys)
	}
	s := &set{}
	for _, raw := range document.Keys {
		var j jwk
		if json.Unmarshal(raw, &j) != nil {
			s.skipped++
			continue
		}
		k, err := j.key()
		if err != nil {
			s.skipped++
			continue
		}
		s.keys = append(s.keys, k)
	}
	if len(s.keys) == 0 {
		return nil, fmt.Errorf("the key set has no key for RS256, ES256 or EdDSA among %d", len(document.Keys))
	}
	return s, nil
}

// jwk is a key as it is written, RFC 7517, 7518 and 8037.
type jwk struct {
	Type       string   `json:"kty"`
	Use        string   `json:"use"`
	Operations []string `json:"key_ops"`
	Algorithm  string   `json:"alg"`
	ID         string   `json:"kid"`
	Curve      string   `json:"crv"`
	N          string   `json:"n"`
	E          string   `json:"e"`
	X          string   `json:"x"`
	Y          string   `json:"y"`
}

var errPurpose = errors.New("the key is for something else")

func (j jwk) key() (key, error) {
	if j.Use != "" && j.Use != "sig" || len(j.Operations) > 0 && !slices.Contains(j.Operations, "verify") || len(j.ID) > maxKeyID {
		return key{}, errPurpose
	}
	k := key{id: j.ID}
	var err error
	switch {
	case j.Type == "RSA":
		k.algorithm = issuers.RS256
		k.public, err = j.rsa()
	case j.Type == "EC" && j.Curve == "P-256":
		k.algorithm = issuers.ES256
		k.public, err = j.ecdsa()
	case j.Type == "OKP" && j.Curve == "Ed25519":
		k.algorithm = issuers.EdDSA
		k.public, err = j.ed25519()
	default:
		return key{}, errPurpose
	}
	if j.Algorithm != "" && j.Algorithm != k.algorithm && !(j.Algorithm == "Ed25519" && k.algorithm == issuers.EdDSA) { // RFC 9864
		return key{}, errPurpose
	}
	return k, err
}

func (j jwk) rsa() (*rsa.PublicKey, error) {
	n, e := number(j.N), number(j.E)
	if bits := n.BitLen(); bits < minModulus || bits > maxModulus {
		return nil, fmt.Errorf("a modulus of %d bits", bits)
	}
	if e.BitLen() < 2 || e.BitLen() > 31 || e.Bit(0) == 0 {
		return nil, errors.New("an exponent that is none")
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

func (j jwk) ecdsa() (*ecdsa.PublicKey, error) {
	x, y := decode(j.X), decode(j.Y)
	if len(x) != 32 || len(y) != 32 {
		return nil, errors.New("a point of another length")
	}
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
}

func (j jwk) ed25519() (ed25519.PublicKey, error) {
	x := decode(j.X)
	if len(x) != ed25519.PublicKeySize {
		return nil, errors.New("a point of another length")
	}
	return x, nil
}

func number(s string) *big.Int { return new(big.Int).SetBytes(decode(s)) }

func decode(s string) []byte {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return nil
	}
	return raw
}

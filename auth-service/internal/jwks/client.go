package jwks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// readTimeout bounds one read, discovery and keys together.
	readTimeout = 5 * time.Second
	// maxBody bounds an answer, in bytes.
	maxBody      = 512 << 10
	maxRedirects = 3
)

// client asks issuers.
type client struct{ http *http.Client }

func newClient() client {
	return client{&http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 2, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: readTimeout, ResponseHeaderTimeout: readTimeout,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			switch {
			case len(via) > maxRedirects:
				return errors.New("too many redirects")
			case via[0].URL.Scheme == "https" && r.URL.Scheme != "https":
				return errors.New("redirected from https to " + r.URL.Scheme)
			}
			return nil
		},
	}}
}

// get reads a document.
func (c client) get(ctx context.Context, address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "starling-auth-service")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: status %d", address, response.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("GET %s: %w", address, err)
	case len(raw) > maxBody:
		return nil, fmt.Errorf("GET %s: more than %d bytes", address, maxBody)
	}
	return raw, nil
}

// discover asks where the keys are (OpenID Connect Discovery 1.0). A document of another issuer is none of this one.
func (c client) discover(ctx context.Context, document, issuer string) (string, error) {
	if document == "" {
		document = strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	}
	raw, err := c.get(ctx, document)
	if err != nil {
		return "", fmt.Errorf("read discovery document: %w", err)
	}
	var found struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(raw, &found); err != nil {
		return "", fmt.Errorf("%s is no discovery document: %w", document, err)
	}
	if found.Issuer != issuer {
		return "", fmt.Errorf("%s is of the issuer %q, want %q", document, found.Issuer, issuer)
	}
	if err := CheckURL(found.Keys); err != nil {
		return "", fmt.Errorf("%s: jwks_uri: %w", document, err)
	}
	if strings.HasPrefix(document, "https:") && !strings.HasPrefix(found.Keys, "https:") {
		return "", fmt.Errorf("%s: jwks_uri %q is not https", document, found.Keys)
	}
	return found.Keys, nil
}

// CheckURL tells what is wrong with the address of a document.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return errors.New("it is not an address such as https://id.example.com/keys")
	}
	return nil
}

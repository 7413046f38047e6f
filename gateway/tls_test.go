package gateway

import (
	"strings"
	"testing"

	"github.com/starling-chat/starling/platform/certs/certstest"
	"github.com/starling-chat/starling/platform/settings"
)

// TestTLSSettings: what cannot work is told by the name of the setting before anything starts.
func TestTLSSettings(t *testing.T) {
	files := certstest.New(t).Files(t, "chat.example.test")
	others := certstest.New(t).Files(t, "chat.example.test")
	domains, cache := "--acme-domains=chat.example.test", "--acme-cache="+t.TempDir()
	for name, tc := range map[string]struct {
		args []string
		want string // in the error; "" = it starts
	}{
		"nothing":               {nil, ""},
		"files":                 {[]string{"--tls-cert=" + files.Cert, "--tls-key=" + files.Key}, ""},
		"no key":                {[]string{"--tls-cert=" + files.Cert}, "TLS_KEY"},
		"no certificate":        {[]string{"--tls-key=" + files.Key}, "TLS_CERT"},
		"another's key":         {[]string{"--tls-cert=" + files.Cert, "--tls-key=" + others.Key}, "TLS_KEY"},
		"no file":               {[]string{"--tls-cert=/nowhere", "--tls-key=/nowhere"}, "TLS_CERT"},
		"ACME":                  {[]string{domains, cache}, ""},
		"several domains":       {[]string{"--acme-domains=a.example.test, b.example.test,", cache}, ""},
		"no domain":             {[]string{"--acme-domains=", "--tls-cert=" + files.Cert, "--tls-key=" + files.Key}, ""},
		"ACME without a cache":  {[]string{domains}, "ACME_CACHE"},
		"both":                  {[]string{domains, cache, "--tls-cert=" + files.Cert, "--tls-key=" + files.Key}, "ACME_DOMAINS"},
		"an address":            {[]string{"--acme-domains=192.0.2.1", cache}, "ACME_DOMAINS"},
		"a wildcard":            {[]string{"--acme-domains=*.example.test", cache}, "ACME_DOMAINS"},
		"a URL":                 {[]string{"--acme-domains=https://chat.example.test", cache}, "ACME_DOMAINS"},
		"a name alone":          {[]string{"--acme-domains=localhost", cache}, "ACME_DOMAINS"},
		"plain directory":       {[]string{domains, cache, "--acme-directory=http://acme.example.test/"}, "ACME_DIRECTORY"},
		"directory, no URL":     {[]string{domains, cache, "--acme-directory=acme"}, "ACME_DIRECTORY"},
		"directory here":        {[]string{domains, cache, "--acme-directory=http://127.0.0.1:14000/dir"}, ""},
		"plain HTTP":            {[]string{domains, cache, "--http-listen=:80"}, ""},
		"plain HTTP alone":      {[]string{"--http-listen=:80"}, "HTTP_LISTEN"},
		"plain HTTP on nothing": {[]string{domains, cache, "--http-listen=80"}, "HTTP_LISTEN"},
	} {
		err := settings.Parse("gateway", "", new(Config), tc.args)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v, want it accepted", name, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: %v, want an error that names %s", name, err, tc.want)
		}
	}
}

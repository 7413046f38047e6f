package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// Files names the files, all in PEM. None is needed.
type Files struct {
	Cert, Key string // of this service, the certificate with those between it and the authority; both or none
	CA        string // authorities, one or several
}

// Empty tells whether there is no file.
func (f Files) Empty() bool { return f == Files{} }

// Check tells what is wrong with the files, one fault a line; settings is what the names of their settings begin with, as GRPC_TLS_.
func (f Files) Check(settings string) error {
	switch {
	case f.Cert != "" && f.Key == "":
		return fmt.Errorf("%sCERT needs %sKEY, the file with its key", settings, settings)
	case f.Key != "" && f.Cert == "":
		return fmt.Errorf("%sKEY needs %sCERT, the file with its certificate", settings, settings)
	}
	_, shown := Files{Cert: f.Cert, Key: f.Key}.load(settings)
	_, believed := Files{CA: f.CA}.load(settings)
	return errors.Join(shown, believed)
}

// content is what the files held at one moment.
type content struct {
	cert  *tls.Certificate // nil without one
	roots *x509.CertPool   // nil without one
}

func (f Files) load(settings string) (content, error) {
	var c content
	if f.Cert != "" {
		cert, err := os.ReadFile(f.Cert)
		if err != nil {
			return c, fmt.Errorf("%sCERT: %w", settings, err)
		}
		key, err := os.ReadFile(f.Key)
		if err != nil {
			return c, fmt.Errorf("%sKEY: %w", settings, err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil { // it never contains the key
			return c, fmt.Errorf("%sCERT %s and %sKEY %s: %w", settings, f.Cert, settings, f.Key, err)
		}
		c.cert = &pair
	}
	if f.CA != "" {
		authorities, err := os.ReadFile(f.CA)
		if err != nil {
			return c, fmt.Errorf("%sCA: %w", settings, err)
		}
		c.roots = x509.NewCertPool()
		if !c.roots.AppendCertsFromPEM(authorities) {
			return c, fmt.Errorf("%sCA %s: %w", settings, f.CA, errNoCertificate)
		}
	}
	return c, nil
}

var errNoCertificate = errors.New("no certificate in PEM is in it")

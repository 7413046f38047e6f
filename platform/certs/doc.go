// Package certs reads what TLS needs from files: a certificate with its key, and the authorities whose certificates are believed.
// Files that change are used from the next handshake on, so that certificates are renewed without a restart; where what they hold
// then is damaged or does not fit together, as in the middle of a change, what was read before stays in use.
package certs

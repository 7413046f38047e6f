// Package settings fills one Config struct per binary from flags and the
// environment, explains every setting in --help, and keeps passwords out of
// everything that is printed.
package settings

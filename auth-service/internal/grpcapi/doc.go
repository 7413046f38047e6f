// Package grpcapi is auth-service's gRPC side: it maps between the messages of starling.auth.v1 and package auth, and
// checks what the caller may ask. Faults become gRPC statuses in the server's interceptors.
package grpcapi

// Package grpcapi is the gRPC side of presence-service: it answers GetPresence, and asks chat-service who is in a room.
package grpcapi

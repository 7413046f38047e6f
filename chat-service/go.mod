module github.com/starling-chat/starling/chat-service

go 1.26.0

require (
	github.com/starling-chat/starling/proto v0.0.0
	github.com/starling-chat/starling/platform v0.0.0
)

replace (
	github.com/starling-chat/starling/proto => ../proto
	github.com/starling-chat/starling/platform => ../platform
)

require (
	github.com/nats-io/nats.go v1.55.0
	google.golang.org/grpc v1.85.0
	google.golang.org/protobuf v1.36.12
	golang.org/x/sync v0.24.0
	github.com/prometheus/client_golang v1.25.0
	github.com/google/uuid v1.6.0
	github.com/google/go-cmp v0.7.0
	github.com/jackc/pgx/v5 v5.12.0
)

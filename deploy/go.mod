module github.com/starling-chat/starling/deploy

go 1.26.0

require (
	github.com/starling-chat/starling/proto v0.0.0
	github.com/starling-chat/starling/platform v0.0.0
	github.com/starling-chat/starling/gateway v0.0.0
	github.com/starling-chat/starling/chat-service v0.0.0
	github.com/starling-chat/starling/presence-service v0.0.0
	github.com/starling-chat/starling/auth-service v0.0.0
)

replace (
	github.com/starling-chat/starling/proto => ../proto
	github.com/starling-chat/starling/platform => ../platform
	github.com/starling-chat/starling/gateway => ../gateway
	github.com/starling-chat/starling/chat-service => ../chat-service
	github.com/starling-chat/starling/presence-service => ../presence-service
	github.com/starling-chat/starling/auth-service => ../auth-service
)

module github.com/starling-chat/starling/test

go 1.26.0

require (
	github.com/starling-chat/starling/proto v0.0.0
	github.com/starling-chat/starling/platform v0.0.0
)

replace (
	github.com/starling-chat/starling/proto => ../proto
	github.com/starling-chat/starling/platform => ../platform
)

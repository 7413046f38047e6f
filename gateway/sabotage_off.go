//go:build !sabotage

package gateway

import "github.com/starling-chat/starling/gateway/internal/roomfeed"

// sabotaged is where a gateway that is built to be broken on purpose (platform/sabotage) puts a broken source of room events.
func sabotaged(s roomfeed.Source) roomfeed.Source { return s }

// Package gossip is what the replicas of chat-service tell each other about who is typing. What is lost only lets a notice expire.
package gossip

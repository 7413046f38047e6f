// Package publisher tells gateways who is online, and the leader election which replicas do so.
//
//	presence.Keeper ─▶ Publisher ─▶ presence.v1.online ─▶ gateways
//	                                        └─▶ Publisher of the other replicas ─▶ presence.Leadership
package publisher

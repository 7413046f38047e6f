// Package postgres is where presence-service meets PostgreSQL: the table last_seen, and the advisory lock that makes one
// replica the leader. Nothing here is needed to know who is online.
package postgres

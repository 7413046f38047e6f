// Package userlogs reads the logs of users: the tables user_logs and user_events. What is written to them is part of a batch, in package postgres.
package userlogs

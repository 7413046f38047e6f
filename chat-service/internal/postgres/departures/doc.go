// Package departures forgets users who are no more: what is their own in the tables of others. It has none itself.
package departures

// Package table finds objects by a key that they have themselves. The gateway has several tables with an entry for each connection; a map
// of Go keeps the key beside the pointer, and takes three times the memory.
package table

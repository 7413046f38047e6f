// Package inboxes connects many users who have an inbox, by processes of their own: a process has 20,000 descriptors on most machines, and so there
// is a crowd for each gateway.
//
//	Crowds ──orders: dial, say──▶ crowd 0 ──▶ gateway 0      by standard input and output, a line of JSON each;
//	       ◀──told: counts, events── crowd 0                 a crowd ends with its input
//	       ──orders──▶ crowd 1 ──▶ gateway 1
//
// User n is connected by crowd n modulo their number, so that users with numbers in a row are at different gateways. Times are those of the
// machine's monotonic clock, which all processes share: what one has sent and another has received can be compared.
package inboxes

// Package pg opens PostgreSQL pools, migrates schemas, retries transactions and
// tells what an error means. It knows no tables.
package pg

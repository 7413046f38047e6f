// Package names hears from auth-service by which names users are shown, and has them stored.
package names

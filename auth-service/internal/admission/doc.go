// Package admission decides who may try a password, a refresh token or an API key, and whose turn it is to have a password hashed.
// All of it counts in this process only.
//
// Limits are built so that the one who fills them pays for it: what fails counts for the address that it came from, and whoever has
// shown before who they are is spared the limits that strangers can fill.
package admission

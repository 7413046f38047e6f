//go:build epoll

package transport

const alwaysLoops = true

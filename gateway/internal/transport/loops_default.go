//go:build !epoll

package transport

// alwaysLoops has every Server use event loops: go test -tags epoll runs the tests of the whole gateway on them.
const alwaysLoops = false

//go:build linux

package swarm

import "bytes"

// Int finds a number behind key, spelled with its quotes and colon, such as "seq":.
func Int(data, key []byte) (n int64, ok bool) {
	_, after, ok0 := bytes.Cut(data, key)
	if !ok0 {
		return 0, false
	}
	for _, c := range after {
		if c < '0' || c > '9' {
			break
		}
		n, ok = n*10+int64(c-'0'), true
	}
	return n, ok
}

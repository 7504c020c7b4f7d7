package front

import "syscall"

// connsWanted is how many connections a front is to take at once where the limit on descriptors allows: 10,000 that idle, and some more.
const connsWanted = 10_500

// MaxConns is how many connections a front may have at once here. Each takes two descriptors, and of its limit a quarter is left for all else, as
// meshnode does it.
func MaxConns() int {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return connsOf(0)
	}
	return connsOf(r.Max)
}

func connsOf(limit uint64) int { return int(min(connsWanted, max(min(limit, 1<<20)*3/8, 64))) }

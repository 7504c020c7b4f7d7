package mesh

import (
	"cmp"
	"hash/fnv"
	"slices"
)

// Bounds of the aperture: up to fullMesh nodes everybody has a stream to everybody else, beyond that to apertureSize peers.
const (
	fullMesh     = 17
	apertureSize = 16
)

// aperture returns the peers that self opens load streams to, sorted by name. It chooses by rendezvous hashing (Thaler and Ravishankar, 1998):
// a peer that comes or goes changes one place at most, and over all nodes every peer is chosen about equally often.
func aperture(self string, peers []string) []string {
	chosen := slices.Clone(peers)
	if len(peers) >= fullMesh {
		slices.SortFunc(chosen, func(a, b string) int {
			return cmp.Or(cmp.Compare(rendezvous(self, b), rendezvous(self, a)), cmp.Compare(a, b))
		})
		chosen = chosen[:apertureSize]
	}
	slices.Sort(chosen)
	return chosen
}

// rendezvous is the weight of peer for self: FNV-1a of both names, mixed further because FNV's high bits hardly depend on the last bytes.
func rendezvous(self, peer string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(self))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(peer))
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

package mesh

import (
	"cmp"
	"hash/fnv"
	"math"
	"slices"
)

// Bounds of the aperture: up to fullMesh nodes everybody has a stream to everybody else, beyond that to apertureSize peers, and to more
// the more work a node accepts beyond what its own workers can do (Widen): a node that forwards most of what it accepts to a fixed few overloads
// them.
const (
	fullMesh     = 17
	apertureSize = 16
)

// aperture returns the size peers that self opens load streams to, at least apertureSize, sorted by name. It chooses by rendezvous hashing (Thaler and Ravishankar, 1998):
// a peer that comes or goes changes one place at most, and over all nodes every peer is chosen about equally often.
func aperture(self string, peers []string, size int) []string {
	chosen := slices.Clone(peers)
	if size = max(size, apertureSize); len(peers) >= fullMesh && size < len(peers) {
		slices.SortFunc(chosen, func(a, b string) int {
			return cmp.Or(cmp.Compare(rendezvous(self, b), rendezvous(self, a)), cmp.Compare(a, b))
		})
		chosen = chosen[:size]
	}
	slices.Sort(chosen)
	return chosen
}

// Widen sets the aperture by the work that this node accepts: work is the number of short connections it has open, its own and forwarded, per worker
// of its own (dimensionless). 1 and less is the normal aperture. It takes effect within a tenth of a second.
func (m *Mesh) Widen(work float64) {
	m.keeper.width.Store(int32(min(math.Ceil(apertureSize*max(1, work)), math.MaxInt16)))
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

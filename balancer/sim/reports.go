package sim

import (
	"cmp"
	"math"
	"slices"
	"strconv"
)

// Bounds of the aperture, as in package mesh.
const (
	fullMesh     = 17
	apertureSize = 16
	narrowing    = 0.98 // what remains of a width after one report
)

// streams says whom a node hears.
type streams struct {
	hears  int          // the first so many of ranked
	ranked []int        // peers, by rendezvous
	heard  map[int]bool // by us
	by     map[int]bool // whom we are heard by
	wide   float64
}

func newStreams() streams { return streams{heard: make(map[int]bool), by: make(map[int]bool)} }

// widen makes a node hear as many peers as its accepted work asks for: wide at once, narrow slowly.
func (m *mesh) widen(i int, work float64) {
	n := m.nodes[i]
	n.wide = max(work, n.wide*narrowing)
	k := m.s.cell.Nodes - 1
	if m.s.cell.Aperture && m.s.cell.Nodes > fullMesh {
		k = min(k, int(math.Ceil(apertureSize*max(1, n.wide))))
	}
	if k == n.hears {
		return
	}
	if n.ranked == nil {
		n.ranked = m.rank(i)
	}
	for _, p := range n.ranked[min(k, n.hears):max(k, n.hears)] {
		if k > n.hears {
			m.link(i, p, p != m.s.dead)
		} else {
			delete(m.nodes[p].by, i)
			delete(n.heard, p)
			n.bal.SetLink(name(p), false)
			n.bal.Forget(name(p))
		}
	}
	n.hears = k
}

// link makes node i hear peer p, or not any more.
func (m *mesh) link(i, p int, up bool) {
	n := m.nodes[i]
	n.bal.SetLink(name(p), up)
	n.heard[p], m.nodes[p].by[i] = up, true
	if up {
		n.picker.SetReport(name(p), m.nodes[p].picker.Local(m.clock()), m.clock())
	}
}

// rank orders a node's peers by rendezvous hashing.
func (m *mesh) rank(i int) []int {
	weight := make([]uint64, m.s.cell.Nodes)
	var out []int
	for p := range weight {
		x := (uint64(i)<<32 | uint64(p)) + 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		if weight[p] = x ^ x>>31; p != i {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b int) int { return cmp.Or(cmp.Compare(weight[b], weight[a]), cmp.Compare(a, b)) })
	return out
}

// report gives node i's load to all that hear it, and comes again as long as connections come.
func (m *mesh) report(i int) {
	n := m.nodes[i]
	listeners := make([]int, 0, len(n.by))
	for j := range n.by {
		listeners = append(listeners, j)
	}
	slices.Sort(listeners)
	if i == m.s.dead {
		for _, j := range listeners {
			m.nodes[j].bal.SetLink(name(i), false)
			m.nodes[j].heard[i] = false
		}
		return
	}
	r := n.picker.Local(m.clock())
	for _, j := range listeners {
		if j == m.s.dead {
			continue
		}
		if o := m.nodes[j]; !o.heard[i] {
			o.heard[i] = true
			o.bal.SetLink(name(i), true)
		}
		m.nodes[j].picker.SetReport(name(i), r, m.clock())
		m.wake(j)
	}
	m.widen(i, n.picker.Accepted())
	if m.s.came < m.s.cell.Arrivals || m.s.open > 0 {
		m.s.after(m.s.cell.Age, event{kind: report, n: i})
	}
}

// index is the node of a name.
func index(name string) int {
	i, err := strconv.Atoi(name[1:])
	if err != nil {
		return -1
	}
	return i
}

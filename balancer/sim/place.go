package sim

import (
	"errors"
	"slices"
	"time"

	"meshnode/balancer"
)

// answerLimit is how long a peer may take to answer, as in package proxy.
const answerLimit = 250 * time.Millisecond

const app = "app"

// mesh places with the shipped code.
type mesh struct {
	s     *world
	epoch time.Time
	nodes []*node
}

// node is a node of the mesh.
type node struct {
	bal    *balancer.Balancer
	picker *balancer.Picker
	ids    map[string]int // workers by ID
	line   []*conn        // that wait for room
	streams
}

// Mesh runs a cell with the shipped code, under its settings.
func Mesh(c Cell, seed uint64) Figures {
	f, _ := meshWorld(c, seed)
	return f
}

func meshWorld(c Cell, seed uint64) (Figures, *world) {
	if c.Set == (balancer.Settings{}) {
		c.Set = balancer.DefaultSettings()
	}
	s := newWorld(&c, seed)
	m := &mesh{s: s, epoch: time.Unix(1000, 0)}
	s.place = m
	for i := range c.Nodes {
		m.nodes = append(m.nodes, m.newNode(i))
	}
	for i := range m.nodes {
		m.widen(i, 1)
		s.after(c.Age*time.Duration(i)/time.Duration(c.Nodes), event{kind: report, n: i})
	}
	s.run()
	out := s.figures.result()
	for _, n := range m.nodes {
		if k := n.bal.Counts(); k.Taken != k.Returned && c.Faults.Crash == 0 {
			out.Claims = false
		}
	}
	return out, s
}

func (m *mesh) newNode(i int) *node {
	n := &node{bal: balancer.New(name(i)), ids: make(map[string]int)}
	n.picker = n.bal.Picker(app)
	n.picker.Configure(m.s.cell.Set)
	var ws []balancer.Worker
	for w := range m.s.cell.Workers {
		id := name(i) + "/" + name(w)
		n.ids[id] = (i*m.s.cell.Workers + w) / m.s.cell.pooled()
		ws = append(ws, balancer.Worker{ID: id})
	}
	n.picker.SetWorkers(ws)
	n.streams = newStreams()
	return n
}

func (m *mesh) clock() time.Time { return m.epoch.Add(m.s.now) }

func (m *mesh) arrive(c *conn) { m.pick(c) }

// pick places a connection at its door.
func (m *mesh) pick(c *conn) {
	n := m.nodes[c.door]
	r, err := n.picker.Pick(balancer.PickInfo{Now: m.clock(), Rand: m.s.rnd.Uint64(), Tried: c.tried, Waiter: c.waiter})
	switch {
	case err != nil:
		m.wait(c, err)
		if c.waiter != nil && len(n.line) > 0 && n.line[0] == c {
			m.s.after(n.picker.Again(m.clock()), event{kind: look, n: c.door, conn: c, ver: c.ver})
		}
		return
	case c.waiter != nil:
		c.waiter = nil
		n.line = slices.DeleteFunc(n.line, func(o *conn) bool { return o == c })
		defer m.wake(c.door)
	}
	c.claims.out = r
	if r.Target.Kind == balancer.KindWorker {
		r.Taken()
		m.s.take(n.ids[r.Target.ID], c)
		return
	}
	m.s.after(m.s.cell.hop(), event{kind: reach, n: index(r.Target.ID), conn: c})
}

// wait lets a connection wait for room; refused means that it is lost.
func (m *mesh) wait(c *conn, err error) {
	n := m.nodes[c.door]
	if c.waiter != nil {
		return
	}
	if !errors.Is(err, balancer.ErrFull) {
		m.s.lose(c)
		return
	}
	w, err := n.picker.Wait(m.clock(), len(c.tried) > 0)
	if err != nil {
		m.s.lose(c)
		return
	}
	front := len(c.tried) > 0
	c.waiter, c.tried = w, c.tried[:0]
	if front {
		n.line = slices.Insert(n.line, 0, c)
	} else {
		n.line = append(n.line, c)
	}
	m.s.after(m.s.cell.Set.QueueTimeout, event{kind: lapse, n: c.door, conn: c, ver: c.ver})
}

// wake lets the first in line look again if it was told to.
func (m *mesh) wake(i int) {
	n := m.nodes[i]
	if len(n.line) == 0 {
		return
	}
	select {
	case <-n.line[0].waiter.C:
		m.pick(n.line[0])
	default:
	}
}

func (m *mesh) handle(e event) {
	switch e.kind {
	case reach:
		m.reach(e)
	case answer:
		c := e.conn
		c.claims.out.Done(balancer.DoneInfo{Now: m.clock()})
		if !c.lost {
			door := c.door
			m.s.done(c)
			m.wake(door)
		}
	case refused, silent:
		c := e.conn
		c.tried = append(c.tried, c.claims.out.Target.ID)
		c.claims.out.Done(balancer.DoneInfo{Now: m.clock(), Refused: e.kind == refused, Failed: e.kind == silent})
		m.pick(c)
	case look:
		if n := m.nodes[e.n]; len(n.line) > 0 && n.line[0] == e.conn && e.conn.ver == e.ver {
			m.pick(e.conn)
		}
	case lapse:
		if c := e.conn; c.waiter != nil && c.ver == e.ver {
			n := m.nodes[e.n]
			n.picker.Leave(c.waiter, true)
			n.line = slices.DeleteFunc(n.line, func(o *conn) bool { return o == c })
			m.s.lose(c)
		}
	case report:
		m.report(e.n)
	}
}

// reach is the arrival of a forward at its peer.
func (m *mesh) reach(e event) {
	c := e.conn
	if e.n == m.s.dead {
		m.s.after(answerLimit-m.s.cell.hop(), event{kind: silent, conn: c})
		return
	}
	n := m.nodes[e.n]
	in, err := n.picker.Pick(balancer.PickInfo{Now: m.clock(), Rand: m.s.rnd.Uint64(), LocalOnly: true})
	if err != nil {
		m.s.figures.Refused++
		m.s.after(m.s.cell.hop(), event{kind: refused, conn: c})
		return
	}
	m.s.figures.forwarded++
	m.nodes[c.door].bal.ObserveHop(m.s.cell.hop())
	c.claims.out.Taken()
	in.Taken()
	c.claims.in = in
	m.s.take(n.ids[in.Target.ID], c)
}

// over is the end of a connection on its worker.
func (m *mesh) over(c *conn) {
	d := balancer.DoneInfo{Now: m.clock()}
	at := m.s.workers[c.worker].node
	if c.claims.in != (balancer.PickResult{}) {
		c.claims.in.Done(d)
		m.wake(at)
	}
	m.handle(event{kind: answer, conn: c})
}

// lost gives the claim on a dead peer back: its kernel, or the one beside it, has reset the connection.
func (m *mesh) lost(c *conn) {
	if c.door != m.s.dead {
		c.claims.out.Done(balancer.DoneInfo{Now: m.clock()})
	}
}

func (m *mesh) fault(back bool) {
	last := m.s.cell.Nodes - 1
	if back {
		by := m.nodes[last].by
		m.nodes[last] = m.newNode(last)
		m.nodes[last].by = by
		m.widen(last, 1)
		m.s.after(0, event{kind: report, n: last})
		return
	}
	m.s.after(m.s.cell.Faults.Noticed, event{kind: report, n: last}) // that it does not report any more
}

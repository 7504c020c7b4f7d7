package sim

// oracle joins the queue that is over soonest, by the number of connections and the true speed, with no way to go. It knows no connection's work.
type oracle struct {
	s *world
}

// Oracle runs a cell with perfect knowledge.
func Oracle(c Cell, seed uint64) Figures {
	s := newWorld(&c, seed)
	s.place = &oracle{s}
	s.run()
	return s.figures.result()
}

func (o *oracle) arrive(c *conn) {
	best, least, ties := 0, -1.0, 0
	for i := range o.s.workers {
		w := &o.s.workers[i]
		if w.node == o.s.dead {
			continue
		}
		wait := float64(max(w.count()+1, w.slots)) / float64(w.slots) * o.s.speed(w.node)
		switch {
		case least < 0 || wait < least:
			best, least, ties = i, wait, 1
		case wait == least:
			if ties++; o.s.rnd.IntN(ties) == 0 {
				best = i
			}
		}
	}
	o.s.take(best, c)
}

func (o *oracle) over(c *conn) { o.s.done(c) }
func (o *oracle) handle(event) {}
func (o *oracle) fault(bool)   {}
func (o *oracle) lost(*conn)   {}

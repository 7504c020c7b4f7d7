package sim

import "time"

// kind is what happens.
type kind uint8

const (
	arrive  kind = iota // a connection comes in
	reach               // a forward reaches its peer
	end                 // a worker ends a connection
	answer              // the answer of a connection reaches the node where it came in
	refused             // a refusal does
	silent              // no answer came
	report              // a node reports
	lapse               // a connection has waited too long
	look                // the first in line looks again
	fault               // something breaks, or comes back
)

// event is something that happens at a time. Of two at the same time the older one is first.
type event struct {
	at   time.Duration
	seq  uint64
	kind kind
	n    int // node, or worker
	ver  uint32
	conn *conn
}

// heap4 is a priority queue with four children to a node: fewer levels, and they lie side by side.
type heap4 []event

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

func (h *heap4) push(e event) {
	q := append(*h, e)
	i := len(q) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !e.before(&q[up]) {
			break
		}
		q[i] = q[up]
		i = up
	}
	q[i] = e
	*h = q
}

func (h *heap4) pop() event {
	q := *h
	first, last := q[0], q[len(q)-1]
	q = q[:len(q)-1]
	*h = q
	if len(q) == 0 {
		return first
	}
	i := 0
	for {
		least := 4*i + 1
		if least >= len(q) {
			break
		}
		for c := least + 1; c < min(4*i+5, len(q)); c++ {
			if q[c].before(&q[least]) {
				least = c
			}
		}
		if !q[least].before(&last) {
			break
		}
		q[i] = q[least]
		i = least
	}
	q[i] = last
	return first
}

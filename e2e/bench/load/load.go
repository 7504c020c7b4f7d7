package load

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Options are one run.
type Options struct {
	Addr     string        // Addr is the host:port of the app.
	More     []string      // More are further addresses of it, which requests take in turn.
	Dial     Dial          // Dial opens the connections; nil = from where this process is.
	Rate     int           // Rate is the requests a second.
	Seed     uint64        // Seed, if not 0, makes the gaps between requests exponential instead of even, the same for each seed.
	Work     Work          // Work says how long the app is to take for each request; the zero value says nothing.
	Clients  int           // Clients, if not 0, is how many clients send the requests, one after the other each, the one that waits longest first.
	Duration time.Duration // Duration is how long requests are due; the run goes on while the event does, and Tail after it.
	Keep     bool          // Keep uses connections again; otherwise each request has its own.
	Timeout  time.Duration // Timeout is how long a request may take from when it was sent.
	Late     time.Duration // Late is the latency from which an answer counts as late.
	At       time.Duration // At is when the event begins.
	Tail     time.Duration // Tail is the least time of the run after the event's end.
	Event    func()        // Event is what happens under the load; nil = nothing.
}

// Dial opens a TCP connection to an address, by a deadline.
type Dial func(addr string, deadline time.Time) (net.Conn, error)

// Work is the distribution of the time that the app is asked to take, exponential around Mean, or, where Heavy is not 0, Mean for most and
// Times x Mean for the share Heavy.
type Work struct {
	Mean  time.Duration
	Heavy float64
	Times float64
}

// draw is the work of one request, in whole microseconds.
func (w Work) draw(r *rand.Rand) time.Duration {
	switch x := r.Float64(); {
	case w.Mean == 0:
		return 0
	case w.Heavy == 0:
		return time.Duration(r.ExpFloat64() * float64(w.Mean)).Round(time.Microsecond)
	case x < w.Heavy:
		return time.Duration(w.Times * float64(w.Mean))
	}
	return w.Mean
}

// query is one request that is to be sent.
type query struct {
	n    int
	due  time.Duration // since the begin
	work time.Duration
}

// outcome is what became of one request.
type outcome struct {
	due     time.Duration // since the begin
	latency time.Duration // from due to the end
	pid     int           // who answered; of a failed request on a kept connection, who answered before
	port    string        // the client's address of the connection
	reused  bool
	idle    time.Duration // of the connection before it was used again
	err     error
}

// Run sends the requests and returns what became of them.
func Run(o Options) (Report, error) {
	if o.Rate <= 0 || o.Addr == "" {
		return Report{}, errors.New("load: no rate or no address")
	}
	if o.Keep && o.Clients == 0 && len(o.More) > 0 {
		return Report{}, errors.New("load: kept connections without clients are all to one address")
	}
	if o.Dial == nil {
		o.Dial = dialHere
	}
	r := &run{Options: o, pool: &pool{addr: o.Addr, dial: o.Dial}, begun: time.Now()}
	defer r.pool.close()
	ended := make(chan struct{})
	var event struct{ begun, ended time.Duration }
	go func() {
		defer close(ended)
		if o.Event == nil {
			return
		}
		time.Sleep(o.At)
		event.begun = time.Since(r.begun)
		o.Event()
		event.ended = time.Since(r.begun)
	}()
	if o.Clients > 0 {
		r.jobs = make(chan query, o.Rate*60) // requests that find no client free wait, and their time runs
		for range o.Clients {
			r.wg.Go(r.client)
		}
	}
	r.send(ended)
	if r.jobs != nil {
		close(r.jobs)
	}
	<-ended
	r.wg.Wait()
	rep := r.report(event.begun)
	rep.EventTook = (event.ended - event.begun).Seconds()
	rep.IdleClosed = r.pool.closed
	return rep, nil
}

// run is the state of one run.
type run struct {
	Options
	pool  *pool
	begun time.Time
	wg    sync.WaitGroup
	jobs  chan query // for the clients, if there are any

	mu       sync.Mutex
	outcomes []outcome
}

// send starts every request at its time, until Duration has passed and the event has been over for Tail.
func (r *run) send(ended <-chan struct{}) {
	rng := rand.New(rand.NewPCG(r.Seed, 7))
	gap := time.Second / time.Duration(r.Rate)
	end := r.Duration
	over := r.Event == nil
	due := time.Duration(0)
	for n := 0; ; n++ {
		select {
		case <-ended:
			if !over {
				over, end = true, max(end, due+r.Tail)
			}
		default:
		}
		if over && due >= end {
			return
		}
		time.Sleep(time.Until(r.begun.Add(due)))
		q := query{n, due, r.Work.draw(rng)}
		if r.jobs != nil {
			r.jobs <- q
		} else {
			r.wg.Go(func() { r.alone(q) })
		}
		if r.Seed != 0 {
			due += time.Duration(rng.ExpFloat64() * float64(gap))
		} else {
			due += gap
		}
	}
}

// alone sends a request by whatever connection there is.
func (r *run) alone(q query) {
	deadline := time.Now().Add(r.Timeout)
	c, err := r.take(q, deadline)
	if c = r.one(q, c, err, deadline); c != nil {
		r.pool.put(c)
	}
}

// client sends the requests that it is given, by its own connection.
func (r *run) client() {
	var c *conn
	for q := range r.jobs {
		deadline := time.Now().Add(r.Timeout)
		if c != nil {
			if c.closed() {
				r.pool.drop(c)
				c = nil
			} else {
				c.reused = true
			}
		}
		var err error
		if c == nil {
			c, err = open(r.Dial, r.addr(q.n), deadline)
		}
		c = r.one(q, c, err, deadline)
	}
	if c != nil {
		_ = c.Close() // nothing is under way on it
	}
}

// one sends a request, once, and returns the connection if it may be used again. err is that of opening it.
func (r *run) one(q query, c *conn, err error, deadline time.Time) *conn {
	out := outcome{due: q.due}
	keep := false
	if err == nil {
		out.reused, out.port = c.reused, c.LocalAddr().String()
		if c.reused {
			out.idle = time.Since(c.last)
		}
		keep, err = c.exchange(q.n, q.work, !r.Keep, deadline)
		out.pid = c.pid
		if !keep {
			_ = c.Close() // what it carried has arrived or has failed
		}
	}
	out.err = err
	out.latency = time.Since(r.begun) - q.due
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes = append(r.outcomes, out)
	if keep {
		return c
	}
	return nil
}

func (r *run) take(q query, deadline time.Time) (*conn, error) {
	if r.Keep {
		return r.pool.get(deadline)
	}
	return open(r.Dial, r.addr(q.n), deadline)
}

// addr is the address that request n goes to.
func (r *run) addr(n int) string {
	if k := n % (len(r.More) + 1); k > 0 {
		return r.More[k-1]
	}
	return r.Addr
}

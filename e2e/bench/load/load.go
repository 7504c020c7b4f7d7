package load

import (
	"errors"
	"sync"
	"time"
)

// Options are one run.
type Options struct {
	Addr     string        // Addr is the host:port of the app.
	Rate     int           // Rate is the requests a second.
	Duration time.Duration // Duration is how long requests are due; the run goes on while the event does, and Tail after it.
	Keep     bool          // Keep uses connections again; otherwise each request has its own.
	Timeout  time.Duration // Timeout is how long a request may take from when it was sent.
	Late     time.Duration // Late is the latency from which an answer counts as late.
	At       time.Duration // At is when the event begins.
	Tail     time.Duration // Tail is the least time of the run after the event's end.
	Event    func()        // Event is what happens under the load; nil = nothing.
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
	r := &run{Options: o, pool: &pool{addr: o.Addr}, begun: time.Now()}
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
	r.send(ended)
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

	mu       sync.Mutex
	outcomes []outcome
}

// send starts every request at its time, until Duration has passed and the event has been over for Tail.
func (r *run) send(ended <-chan struct{}) {
	gap := time.Second / time.Duration(r.Rate)
	end := r.Duration
	over := false
	for n := 0; ; n++ {
		due := time.Duration(n) * gap
		if !over {
			select {
			case <-ended:
				over = true
				end = max(end, due+r.Tail)
			default:
			}
			if r.Event == nil {
				over, end = true, r.Duration
			}
		}
		if over && due >= end {
			return
		}
		time.Sleep(time.Until(r.begun.Add(due)))
		r.wg.Go(func() { r.one(n, due) })
	}
}

// one sends request n, once.
func (r *run) one(n int, due time.Duration) {
	deadline := time.Now().Add(r.Timeout)
	out := outcome{due: due}
	c, err := r.take(deadline)
	if err == nil {
		out.reused, out.port = c.reused, c.LocalAddr().String()
		if c.reused {
			out.idle = time.Since(c.last)
		}
		var keep bool
		keep, err = c.exchange(n, !r.Keep, deadline)
		out.pid = c.pid
		if keep {
			r.pool.put(c)
		} else {
			_ = c.Close() // what it carried has arrived or has failed
		}
	}
	out.err = err
	out.latency = time.Since(r.begun) - due
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes = append(r.outcomes, out)
}

func (r *run) take(deadline time.Time) (*conn, error) {
	if r.Keep {
		return r.pool.get(deadline)
	}
	return dial(r.Addr, deadline)
}

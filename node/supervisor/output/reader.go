package output

import (
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How a pipe is read.
const (
	gulpBytes    = 256 << 10            // read at once
	gulps        = 8                    // in a row, before anything else is looked at
	bigPipe      = 1 << 20              // size of a busy pipe: what most kernels allow at most
	busyBytes    = 16 << 10             // so much at once makes a pipe busy
	restTime     = 5 * time.Millisecond // between two looks into a pipe: the writer fills it meanwhile
	smallRest    = 500 * time.Microsecond
	partialAfter = 500 * time.Millisecond // how long the end of a line is waited for
	blindTime    = 50 * time.Millisecond  // between two looks into a pipe that the kernel does not watch for us
)

// reader empties one pipe of one process. One goroutine, run, owns it.
type reader struct {
	file  *os.File
	fd    int
	token int32
	poll  *poller
	sink  tailed
	ready chan struct{}
	split splitter
	size  int  // of the pipe, in bytes
	ended bool // its end is reached
}

func newReader(p *poller, f *os.File, s tailed, leftover []byte) *reader {
	r := &reader{file: f, fd: int(f.Fd()), poll: p, sink: s, ready: make(chan struct{}, 1)}
	r.split.rest = append(r.split.rest, leftover[:min(len(leftover), maxLineBytes-1)]...)
	r.size, _ = unix.FcntlInt(f.Fd(), unix.F_GETPIPE_SZ, 0)
	if err := unix.SetNonblock(r.fd, true); err != nil {
		r.ended = true
		return r
	}
	r.token = p.add(r.ready)
	return r
}

// run reads until the end of the pipe, until expire, which ends the reading for good, or until quit, which leaves it to somebody else.
func (r *reader) run(quit, expire <-chan struct{}) {
	defer r.poll.forget(r.token)
	t := time.NewTimer(blindTime)
	defer t.Stop()
	resting := true // the pipe is not watched: a look into it is due at the next tick
	for !r.ended {
		select {
		case <-quit:
			r.poll.disarm(r.fd, r.token)
			return
		case <-expire:
			r.gulp()
			r.end()
			return
		case <-r.ready:
		case <-t.C:
			if !resting {
				r.flush()
				continue
			}
		}
		r.poll.disarm(r.fd, r.token)
		n := r.gulp()
		switch {
		case n > 0:
			resting = true
			t.Reset(r.rest(n))
		case r.poll.arm(r.fd, r.token) != nil:
			resting = true
			t.Reset(blindTime)
			r.flush()
		default:
			resting = false
			t.Stop()
			if len(r.split.rest) > 0 {
				t.Reset(partialAfter)
			}
		}
	}
	r.end()
}

// rest is how long to leave the pipe alone after n bytes were in it. One that was busy is made larger, so that the rest can be long.
func (r *reader) rest(n int) time.Duration {
	if n >= busyBytes && r.size < bigPipe {
		// Refused to a user with many large pipes: then it is looked at more often.
		if size, err := unix.FcntlInt(uintptr(r.fd), unix.F_SETPIPE_SZ, bigPipe); err == nil {
			r.size = size
		}
	}
	if n >= busyBytes && r.size < bigPipe {
		return smallRest
	}
	return restTime
}

// gulp takes what is in the pipe, up to a bound, and returns how much it was.
func (r *reader) gulp() (total int) {
	b := r.sink.book.gulps.Get().(*[]byte)
	defer r.sink.book.gulps.Put(b)
	for range gulps {
		n, err := unix.Read(r.fd, *b)
		if n > 0 {
			total += n
			r.split.load((*b)[:n])
			r.sink.take(&r.split)
		}
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return total
		case err != nil || n <= 0:
			r.ended = true
			return total
		case n < len(*b)/2:
			return total
		}
	}
	return total
}

// flush stores a line whose end does not come.
func (r *reader) flush() {
	if line, ok := r.split.partial(); ok {
		r.sink.one(line)
	}
}

func (r *reader) end() {
	r.ended = true
	r.flush()
	r.poll.disarm(r.fd, r.token) // before the number can be another's
	r.file.Close()
}

// leftover is the beginning of a line whose end has not come.
func (r *reader) leftover() []byte { return []byte(strings.Clone(string(r.split.rest))) }

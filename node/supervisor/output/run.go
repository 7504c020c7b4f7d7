package output

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Pipe makes the two ends of one stream of a worker: r for Attach, w for the worker. Reading makes it larger once it is busy.
func Pipe() (r, w *os.File, err error) {
	var fds [2]int
	// Blocking, so that the runtime's poller takes neither; our end is made non-blocking behind its back.
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make a pipe for the worker's output: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "worker output"), os.NewFile(uintptr(fds[1]), "worker output"), nil
}

// Inherit makes a file for Attach of a descriptor that another process has read before.
func Inherit(fd uintptr, name string) (*os.File, error) {
	if err := unix.SetNonblock(int(fd), false); err != nil {
		return nil, fmt.Errorf("take over the pipe %s: %w", name, err)
	}
	unix.CloseOnExec(int(fd))
	return os.NewFile(fd, name), nil
}

// Run is the output of one process.
type Run struct {
	readers [2]*reader // out, err
	tails   [2]*tail
	slot    *Slot
	wg      sync.WaitGroup
	quit    chan struct{}
	expire  chan struct{}
	once    sync.Once
}

// Tail is what the process wrote last, errors first.
func (r *Run) Tail() []string { return append(r.tails[1].all(), r.tails[0].all()...) }

// Note stores a line of our own among the errors of the process.
func (r *Run) Note(text string) {
	r.slot.Note(text)
	r.tails[1].add([]byte(text))
}

// Wait returns when all is stored that the process wrote, and every descriptor of the run is closed. What the process left behind may
// hold its pipes open; after the grace it is not read any more.
func (r *Run) Wait(grace time.Duration) {
	done := make(chan struct{})
	go func() { // ends with the readers, which the below makes certain
		r.wg.Wait()
		close(done)
	}()
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		r.once.Do(func() { close(r.expire) })
		<-done
	}
}

// Detach stops the reading at once and leaves the pipes open. It returns the beginnings of lines whose ends have not come, of standard
// output and standard error: for the Attach of a successor. All that was read before is stored. The run is over.
func (r *Run) Detach() [2][]byte {
	r.once.Do(func() { close(r.quit) })
	r.wg.Wait()
	return [2][]byte{r.readers[0].leftover(), r.readers[1].leftover()}
}

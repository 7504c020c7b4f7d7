package supervisor

import (
	"context"
	"os"
	"time"

	"meshnode/node/supervisor/output"
)

// outputGrace is how long the output of an ended worker is waited for: one that left a process behind which nothing can end, another
// user's say, must not wait for that.
const outputGrace = time.Second

// openLogs keeps what the process writes, over our ends of its pipes.
func (p *process) openLogs(s *slot, out, errs *os.File, leftover [2][]byte) {
	s.logs.SetPolicy(p.spec.Logs)
	p.output = s.logs.Attach(out, errs, leftover)
}

// finish waits until everything is stored that the process wrote.
func (p *process) finish() {
	if p.output != nil {
		p.output.Wait(outputGrace)
	}
}

// remark stores a line of our own with the process's errors.
func (p *process) remark(text string) {
	if p.output != nil {
		p.output.Note(text)
	}
}

// tail is what the process wrote last, errors first.
func (p *process) tail() []string {
	if p.output == nil {
		return nil
	}
	return p.output.Tail()
}

// Headline picks the line of a failed process's output that says most.
func Headline(tail []string) string { return output.Headline(tail) }

// Lines calls emit for the wanted lines of this node's workers, in time order, and for new ones where the query follows.
func (s *Supervisor) Lines(ctx context.Context, q output.Query, emit func(output.Line) error) error {
	return s.book.Read(ctx, q, emit)
}

// LostLines is the number of output lines that were not stored or not passed to a follower (count).
func (s *Supervisor) LostLines() uint64 { return s.book.Lost() }

// LogTroubles are the log files that cannot be written now, of each app the first.
func (s *Supervisor) LogTroubles() []output.Trouble { return s.book.Troubles() }

// FlushLogs empties the logs of an app, "" = of all apps.
func (s *Supervisor) FlushLogs(app string) error { return s.book.Flush(app) }

// ReopenLogs opens the log files of an app, "" = of all apps, anew by their names.
func (s *Supervisor) ReopenLogs(app string) error { return s.book.Reopen(app) }

// RemoveOldLogs deletes the stored logs of apps that nobody wants any more, once nothing was written to them for age. It returns which.
func (s *Supervisor) RemoveOldLogs(age time.Duration, wanted func(app string) bool) (gone []string, err error) {
	return s.book.RemoveOld(age, func(app string) bool { return wanted(app) || s.known(app) })
}

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

// pipes gives the process its standard output and error, and has them read. It returns the worker's ends.
func (p *process) pipes(s *slot) ([]*os.File, error) {
	out, theirOut, err := output.Pipe()
	if err != nil {
		return nil, err
	}
	errs, theirErr, err := output.Pipe()
	if err != nil {
		out.Close()
		theirOut.Close()
		return nil, err
	}
	s.logs.SetPolicy(p.spec.Logs)
	p.output = s.logs.Attach(out, errs, [2][]byte{})
	p.cmd.Stdout, p.cmd.Stderr = theirOut, theirErr
	return []*os.File{theirOut, theirErr}, nil
}

// finish waits until everything is stored that the process wrote.
func (p *process) finish() {
	if p.output != nil {
		p.output.Wait(outputGrace)
	}
}

// tail is what the process wrote last, errors first.
func (p *process) tail() []string { return p.output.Tail() }

// Headline picks the line of a failed process's output that says most.
func Headline(tail []string) string { return output.Headline(tail) }

// Lines calls emit for the wanted lines of this node's workers, in time order, and for new ones where the query follows.
func (s *Supervisor) Lines(ctx context.Context, q output.Query, emit func(output.Line) error) error {
	return s.book.Read(ctx, q, emit)
}

// LostLines is the number of output lines that were not stored or not passed to a follower (count).
func (s *Supervisor) LostLines() uint64 { return s.book.Lost() }

// FlushLogs empties the logs of an app, "" = of all apps.
func (s *Supervisor) FlushLogs(app string) error { return s.book.Flush(app) }

// ReopenLogs opens the log files of an app, "" = of all apps, anew by their names.
func (s *Supervisor) ReopenLogs(app string) error { return s.book.Reopen(app) }

// RemoveLogs deletes the stored logs of an app that has no slot any more.
func (s *Supervisor) RemoveLogs(app string) error { return s.book.Remove(app) }

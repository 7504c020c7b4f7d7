package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

const (
	maxLine  = 1 << 20 // bytes of one log line as JSON
	maxGrep  = 1 << 10 // bytes
	lineTime = 30 * time.Second
)

// MaxLogLines is how many lines of the past a query may ask for.
const MaxLogLines = 100_000

// record is one line of a log stream: a LogLine, or at the end the error that broke it off.
type record struct {
	*LogLine
	Error *Error `json:"error,omitempty"`
}

func (q LogQuery) values() url.Values {
	v := url.Values{
		"app": q.Apps, "node": {q.Node}, "worker": {q.Worker}, "stream": {q.Stream}, "grep": {q.Grep},
		"lines": {strconv.Itoa(q.Lines)}, "follow": {strconv.FormatBool(q.Follow)},
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	return v
}

func parseLogQuery(v url.Values) (LogQuery, error) {
	q := LogQuery{Node: v.Get("node"), Worker: v.Get("worker"), Stream: v.Get("stream"), Grep: v.Get("grep")}
	for _, app := range v["app"] {
		if app != "" {
			q.Apps = append(q.Apps, app)
		}
	}
	var errs [3]error
	if text := v.Get("lines"); text != "" {
		q.Lines, errs[0] = strconv.Atoi(text)
	}
	if text := v.Get("follow"); text != "" {
		q.Follow, errs[1] = strconv.ParseBool(text)
	}
	if text := v.Get("since"); text != "" {
		q.Since, errs[2] = time.Parse(time.RFC3339Nano, text)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return q, Errorf(CodeInvalid, sameVersion, "the log query is not understood")
	}
	return q, q.validate()
}

func (q LogQuery) validate() error {
	switch {
	case q.Lines < 0 || q.Lines > MaxLogLines:
		return Errorf(CodeInvalid, "", "%d lines are not between 0 and %d", q.Lines, MaxLogLines)
	case q.Stream != "" && q.Stream != StreamOut && q.Stream != StreamErr:
		return Errorf(CodeInvalid, "", "there is no stream %q; there are %s and %s", q.Stream, StreamOut, StreamErr)
	case len(q.Grep) > maxGrep:
		return Errorf(CodeInvalid, "", "the pattern is longer than %d bytes", maxGrep)
	}
	if _, err := regexp.Compile(q.Grep); err != nil {
		return Errorf(CodeInvalid, "", "the pattern is no regular expression: %v", err)
	}
	return nil
}

// stream adds a route that answers with log lines as JSON lines, each sent as soon as it is there. Errors after the
// first line travel as a last line of their own.
func (s *Server) stream(mux *http.ServeMux, pattern string, logs func(context.Context, LogQuery, func(LogLine) error) error) {
	s.route(mux, pattern, func(w http.ResponseWriter, r *http.Request, _ *draft) {
		query, err := parseLogQuery(r.URL.Query())
		if err != nil {
			s.fail(w, r, err)
			return
		}
		out := &lineWriter{w: w, control: http.NewResponseController(w)}
		if query.Follow { // the first line may be hours away
			if err := out.open(); err != nil {
				s.log.Debug("logs not begun", "err", err)
				return
			}
		}
		err = logs(r.Context(), query, func(line LogLine) error {
			if query.Node != "" && line.Node != query.Node {
				return nil
			}
			if s.local { // a certificate may be revoked while its owner reads
				if err := s.access.permit(r.Context(), pattern); err != nil {
					return err
				}
			}
			return out.write(record{LogLine: &line})
		})
		switch {
		case r.Context().Err() != nil: // the reader has left, or the server closes
		case err == nil:
			out.start()
		case !out.started:
			s.fail(w, r, err)
		case out.broken == nil:
			count(s.metrics, metricErrors)
			if err := out.write(record{Error: toError(err)}); err != nil {
				s.log.Debug("end of logs not written", "err", err)
			}
		}
	})
}

// lineWriter writes records, each within its own time limit: a reader that stopped reading must not hold a backend.
type lineWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	started bool
	broken  error
}

func (l *lineWriter) start() {
	if !l.started {
		l.started = true
		l.w.Header().Set("Content-Type", "application/x-ndjson")
		l.w.WriteHeader(http.StatusOK)
	}
}

// open sends the header without a line.
func (l *lineWriter) open() error {
	l.start()
	return l.control.Flush()
}

func (l *lineWriter) write(r record) error {
	l.start()
	text, err := json.Marshal(r)
	if err == nil {
		err = l.control.SetWriteDeadline(time.Now().Add(lineTime))
	}
	if err == nil {
		_, err = l.w.Write(append(text, '\n'))
	}
	if err == nil {
		err = l.control.Flush()
	}
	l.broken = err
	return err
}

// readLines calls emit for every line of a stream until its end.
func readLines(body io.Reader, emit func(LogLine) error) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		r := record{LogLine: &LogLine{}}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("read a log line: %w", err)
		}
		if r.Error != nil {
			return r.Error
		}
		if err := emit(*r.LogLine); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read logs: %w", err)
	}
	return nil
}

package api

import (
	"context"
	"net/http"
)

// Hello greets the peer and returns who it is.
func (c *Client) Hello(ctx context.Context, from Hello) (Hello, error) {
	return post[Hello](ctx, c, "/peer/v1/hello", from)
}

// Apply hands an encoded command to the peer, which must be the leader, and returns the index it was committed at. When
// the error is no *Error the outcome is unknown.
func (c *Client) Apply(ctx context.Context, command []byte) (uint64, error) {
	var answer applied
	err := c.call(ctx, http.MethodPost, "/peer/v1/apply", command, &answer)
	return answer.Index, err
}

// LocalStatus asks the peer for what it knows about itself.
func (c *Client) LocalStatus(ctx context.Context) (LocalStatus, error) {
	return get[LocalStatus](ctx, c, "/peer/v1/status", nil)
}

// LocalLogs is Logs for the peer's own workers.
func (c *Client) LocalLogs(ctx context.Context, query LogQuery, emit func(LogLine) error) error {
	return c.lines(ctx, "/peer/v1/logs", query, emit)
}

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"meshnode/store/spec"
)

const maxAnswer = 64 << 20 // a full cluster's workers fit many times over

// Client asks one node. Methods block until the answer is there or ctx ends. A node's refusal is an *Error; any other
// error means that the node was not reached or broke off.
type Client struct {
	http *http.Client
}

// NewClient returns a client that reaches its node through dial, which is called for every new connection. Close the
// client when it is not needed any more.
func NewClient(dial func(ctx context.Context) (net.Conn, error)) *Client {
	return &Client{http: &http.Client{
		Transport: &http.Transport{
			DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
			MaxIdleConnsPerHost: 2,
			IdleConnTimeout:     30 * time.Second,
			DisableCompression:  true,
			// A node that is stopped still accepts on its socket.
			ResponseHeaderTimeout: answerTime + 5*time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status asks for the whole cluster.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status", nil)
}

// Workers asks for the workers of app, or of every app when app is empty.
func (c *Client) Workers(ctx context.Context, app string) ([]WorkerStatus, error) {
	return get[[]WorkerStatus](ctx, c, "/v1/workers", url.Values{"app": {app}})
}

// Describe asks for everything about app.
func (c *Client) Describe(ctx context.Context, app string) (Description, error) {
	return get[Description](ctx, c, appPath(app), nil)
}

// Progress asks how far the nodes are with a release of app; 0 = with what each is to run now, rolled out or not.
func (c *Client) Progress(ctx context.Context, app string, release uint64) (Progress, error) {
	return get[Progress](ctx, c, appPath(app)+"/progress", url.Values{"release": {strconv.FormatUint(release, 10)}})
}

// Set changes settings of the cluster by their keys.
func (c *Client) Set(ctx context.Context, values map[string]string) (Change, error) {
	return post[Change](ctx, c, "/v1/settings", setRequest{Values: values})
}

// Leave takes the node out of its cluster.
func (c *Client) Leave(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/leave", nil, nil)
}

// ForceLeave takes a server that has failed out of the cluster.
func (c *Client) ForceLeave(ctx context.Context, node string) error {
	return c.call(ctx, http.MethodPost, "/v1/members/"+url.PathEscape(node)+"/leave", nil, nil)
}

// Start creates or replaces an app.
func (c *Client) Start(ctx context.Context, request StartRequest) (Change, error) {
	return post[Change](ctx, c, "/v1/apps", request)
}

// Reload makes a new release of the app and replaces its workers in the given order; empty = the app's own order.
func (c *Client) Reload(ctx context.Context, name string, order spec.Order) (Change, error) {
	return post[Change](ctx, c, appPath(name)+"/reload", reloadRequest{Order: order})
}

// Stop ends the workers and keeps the app.
func (c *Client) Stop(ctx context.Context, name string) (Change, error) {
	return post[Change](ctx, c, appPath(name)+"/stop", nil)
}

// Delete ends the workers and forgets the app.
func (c *Client) Delete(ctx context.Context, name string) (Change, error) {
	var change Change
	err := c.call(ctx, http.MethodDelete, appPath(name), nil, &change)
	return change, err
}

// Scale sets the workers per node: "4", "+1", "-1" or "max".
func (c *Client) Scale(ctx context.Context, name, workers string) (Change, error) {
	return post[Change](ctx, c, appPath(name)+"/scale", scaleRequest{Workers: workers})
}

// Kept asks which secret variables of an app have these values already.
func (c *Client) Kept(ctx context.Context, name string, values map[string]string) ([]string, error) {
	answer, err := post[keptAnswer](ctx, c, appPath(name)+"/secrets", keptRequest{Values: values})
	return answer.Names, err
}

// Logs calls emit for every line the query asks for, until there is no more, ctx ends or emit fails; it returns emit's
// error as it is.
func (c *Client) Logs(ctx context.Context, query LogQuery, emit func(LogLine) error) error {
	return c.lines(ctx, "/v1/logs", query, emit)
}

// Upgrade has the node replaced by the binary at path, which the node's server has.
func (c *Client) Upgrade(ctx context.Context, path string) (Upgrade, error) {
	return post[Upgrade](ctx, c, "/v1/upgrade", upgradeRequest{Path: path})
}

// UpgradeOutcome tells how the last upgrade went.
func (c *Client) UpgradeOutcome(ctx context.Context) (Upgrade, error) {
	return get[Upgrade](ctx, c, "/v1/upgrade", nil)
}

func appPath(app string) string { return "/v1/apps/" + url.PathEscape(app) }

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	var answer T
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	err := c.call(ctx, http.MethodGet, path, nil, &answer)
	return answer, err
}

func post[T any](ctx context.Context, c *Client, path string, request any) (T, error) {
	var answer T
	var body []byte
	if request != nil {
		var err error
		if body, err = json.Marshal(request); err != nil {
			return answer, fmt.Errorf("write the request: %w", err)
		}
	}
	err := c.call(ctx, http.MethodPost, path, body, &answer)
	return answer, err
}

// call sends one request and reads its answer into answer, where that is not nil.
func (c *Client) call(ctx context.Context, method, path string, body []byte, answer any) error {
	response, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("read the node's answer: %w", err)
	case len(text) > maxAnswer:
		return fmt.Errorf("read the node's answer: it is larger than %d bytes", maxAnswer)
	case answer == nil || response.StatusCode == http.StatusNoContent:
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("read the node's answer: %w", err)
	}
	return nil
}

// send returns a response whose status is a success; the caller closes its body.
func (c *Client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://node"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // its text is the made-up address
		}
		return nil, lostError(ctx, err, method != http.MethodGet && !strings.HasPrefix(path, "/peer/"))
	}
	if response.StatusCode < 300 {
		return response, nil
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	var e Error
	if err != nil || json.Unmarshal(text, &e) != nil || e.Code == "" {
		return nil, Errorf(CodeFailed, "is another program answering on this address?", "the node gave an answer that is none of ours (%s)", response.Status)
	}
	return nil, &e
}

// lostError says in plain words why no answer came.
func lostError(ctx context.Context, err error, change bool) error {
	var slow net.Error
	switch {
	case ctx.Err() == nil && errors.As(err, &slow) && slow.Timeout():
		return fmt.Errorf("the node does not answer: %w", err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		if change {
			return fmt.Errorf("the node broke off without an answer, and what was asked for may or may not have been done: %w", err)
		}
		return fmt.Errorf("the node broke off without an answer: %w", err)
	default:
		return fmt.Errorf("ask the node: %w", err)
	}
}

func (c *Client) lines(ctx context.Context, path string, query LogQuery, emit func(LogLine) error) error {
	response, err := c.send(ctx, http.MethodGet, path+"?"+query.values().Encode(), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return readLines(response.Body, emit)
}

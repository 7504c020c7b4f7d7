package api

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// Releases looks at the releases of an app, and goes back to one of them.
type Releases interface {
	// Releases returns the releases of app that are known, newest first.
	Releases(ctx context.Context, app string) ([]Release, error)
	// Rollback makes a new release with the content of the given one; 0 = the last that served before the present one. While
	// a release is being rolled out, 0 and the number before take that one back. It returns like the methods of Apps.
	Rollback(ctx context.Context, app string, release uint64) (Change, error)
}

// States of Release.
const (
	ReleaseServing    = "serving"     // the nodes run it
	ReleaseStopped    = "stopped"     // they would run it
	ReleaseRollingOut = "rolling-out" // it is taking the place of the one that serves
	ReleaseFormer     = "former"
	ReleaseRefused    = "refused"
)

// Release is one release of an app.
type Release struct {
	Release uint64    `json:"release"`
	Since   time.Time `json:"since,omitzero"` // when it was proposed; missing when that is not known
	State   string    `json:"state"`
	Command []string  `json:"command"`
	Changed []string  `json:"changed"` // fields that differ from the one that served before it; empty = only its processes are new
	Same    uint64    `json:"same"`    // an older release that it repeats, else 0
	Rollout *Rollout  `json:"rollout,omitempty"`
	Refusal *Refusal  `json:"refusal,omitempty"`
}

// Rollout tells how far a release has come.
type Rollout struct {
	Stable uint64 `json:"stable"` // release that the other nodes serve
	Node   string `json:"node"`   // whose turn it is; empty before the first
	Done   int    `json:"done"`   // nodes that have it (count)
	Nodes  int    `json:"nodes"`  // nodes that live (count)
}

// Refusal tells why a release was refused.
type Refusal struct {
	Release uint64   `json:"release"`
	Kept    uint64   `json:"kept"` // release that goes on in its place
	Node    string   `json:"node"` // where it failed; empty when an operator took it back
	Reason  string   `json:"reason"`
	Tail    []string `json:"tail"` // last output of the worker that failed
}

// rollbackRequest is the body of the route of this name.
type rollbackRequest struct {
	Release uint64 `json:"release"`
}

func (s *Server) releaseRoutes(mux *http.ServeMux, releases Releases) {
	s.handle(mux, "GET /v1/apps/{app}/releases", named(func(ctx context.Context, app string, _ call) (any, error) {
		list, err := releases.Releases(ctx, app)
		for i := range list {
			list[i].Changed = filled(list[i].Changed)
		}
		return filled(list), err
	}))
	s.handle(mux, "POST /v1/apps/{app}/rollback", named(func(ctx context.Context, app string, c call) (any, error) {
		var request rollbackRequest
		if err := c.decode(&request, true); err != nil {
			return nil, err
		}
		if request.Release != 0 {
			Note(ctx, "release", strconv.FormatUint(request.Release, 10))
		}
		return releases.Rollback(ctx, app, request.Release)
	}))
}

// Releases asks for the releases of app.
func (c *Client) Releases(ctx context.Context, app string) ([]Release, error) {
	return get[[]Release](ctx, c, appPath(app)+"/releases", nil)
}

// Rollback goes back to a release of the app; 0 = the last that served before the present one.
func (c *Client) Rollback(ctx context.Context, app string, release uint64) (Change, error) {
	return post[Change](ctx, c, appPath(app)+"/rollback", rollbackRequest{Release: release})
}

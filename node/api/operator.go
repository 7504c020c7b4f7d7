package api

import (
	"context"
	"net/http"
	"strconv"

	"meshnode/store/spec"
)

// reloadRequest and scaleRequest are the bodies of the routes of these names.
type reloadRequest struct {
	Order spec.Order `json:"order"`
}

type upgradeRequest struct {
	Path string `json:"path"`
}

type setRequest struct {
	Values map[string]string `json:"values"`
}

type scaleRequest struct {
	Workers string `json:"workers"`
}

// keptRequest and keptAnswer are of the route that compares secret variables.
type keptRequest struct {
	Values map[string]string `json:"values"`
}

type keptAnswer struct {
	Names []string `json:"names"`
}

// compareSecrets changes nothing, though it is a POST: values must not stand in a path.
const compareSecrets = "POST /v1/apps/{app}/secrets"

// operatorRoutes adds what the command line asks of its own node.
func (s *Server) operatorRoutes(mux *http.ServeMux, o Options) {
	s.handle(mux, "GET /v1/status", func(ctx context.Context, _ call) (any, error) {
		status, err := o.Cluster.Status(ctx)
		return status.filled(), err
	})
	s.handle(mux, "GET /v1/workers", func(ctx context.Context, c call) (any, error) {
		workers, err := o.Cluster.Workers(ctx, c.URL.Query().Get("app"))
		return filled(workers), err
	})
	s.handle(mux, "GET /v1/apps/{app}", named(func(ctx context.Context, app string, _ call) (any, error) {
		d, err := o.Cluster.Describe(ctx, app)
		if CallerOf(ctx).Role == RoleViewer {
			d.App = d.App.Viewed()
		}
		d.App = d.App.Masked()
		return d.filled(), err
	}))
	s.handle(mux, "GET /v1/apps/{app}/progress", named(func(ctx context.Context, app string, c call) (any, error) {
		release, err := strconv.ParseUint(c.URL.Query().Get("release"), 10, 64)
		if err != nil {
			return nil, Errorf(CodeInvalid, sameVersion, "the release asked about is no number")
		}
		p, err := o.Cluster.Progress(ctx, app, release)
		p.Nodes = filled(p.Nodes)
		return p, err
	}))
	s.handle(mux, "POST /v1/leave", func(ctx context.Context, _ call) (any, error) {
		return nil, o.Cluster.Leave(ctx)
	})
	s.handle(mux, "GET /v1/upgrade", func(ctx context.Context, _ call) (any, error) { return o.Upgrades.Outcome(ctx) })
	if o.Access.Audits != nil {
		s.auditRoute(mux, "GET /v1/audit", o.Access.Audits.Audit)
	}
	if o.Access.Operators != nil {
		s.operatorsRoutes(mux, o.Access.Operators)
	}
	s.changeRoutes(mux, o.Apps)
	s.releaseRoutes(mux, o.Releases)
	s.rescueRoutes(mux, o.Rescue)
	s.stream(mux, "GET /v1/logs", o.Logs.Logs)
	s.nodeRoutes(mux, o)
}

// nodeRoutes adds what is done to nodes and what runs on them, and what changes no app.
func (s *Server) nodeRoutes(mux *http.ServeMux, o Options) {
	s.handle(mux, "POST /v1/members/{node}/leave", func(ctx context.Context, c call) (any, error) {
		return nil, o.Members.ForceLeave(ctx, c.PathValue("node"))
	})
	s.handle(mux, "POST /v1/settings", func(ctx context.Context, c call) (any, error) {
		var request setRequest
		if err := c.decode(&request, true); err != nil {
			return nil, err
		}
		for key, value := range request.Values {
			Note(ctx, key, value)
		}
		return o.Cluster.Set(ctx, request.Values)
	})
	s.handle(mux, "POST /v1/upgrade", func(ctx context.Context, c call) (any, error) {
		var request upgradeRequest
		if err := c.decode(&request, true); err != nil {
			return nil, err
		}
		Note(ctx, "path", request.Path)
		return o.Upgrades.Upgrade(ctx, request.Path)
	})
	s.handle(mux, "POST /v1/orders/{order}", func(ctx context.Context, c call) (any, error) {
		order, err := orderOf(c)
		c.record.about(order.App)
		Note(ctx, "signal", order.Signal)
		if err != nil {
			return nil, err
		}
		answers, err := o.Logs.Tend(ctx, order)
		return filled(answers), err
	})
}

func (s *Server) changeRoutes(mux *http.ServeMux, apps Apps) {
	s.handle(mux, "POST /v1/apps", func(ctx context.Context, c call) (any, error) {
		var request StartRequest
		if err := c.decode(&request, true); err != nil {
			return nil, err
		}
		c.record.about(request.App.Name)
		return apps.Start(ctx, request)
	})
	s.handle(mux, "POST /v1/apps/{app}/reload", named(func(ctx context.Context, app string, c call) (any, error) {
		var request reloadRequest
		if err := c.decode(&request, true); err != nil {
			return nil, err
		}
		Note(ctx, "order", string(request.Order))
		return apps.Reload(ctx, app, request.Order)
	}))
	s.handle(mux, "POST /v1/apps/{app}/scale", named(func(ctx context.Context, app string, c call) (any, error) {
		var request scaleRequest
		if err := c.decode(&request, true); err != nil {
			return nil, err
		}
		Note(ctx, "workers", request.Workers)
		return apps.Scale(ctx, app, request.Workers)
	}))
	s.handle(mux, compareSecrets, named(func(ctx context.Context, app string, c call) (any, error) {
		var request keptRequest
		if err := c.decode(&request, true); err != nil {
			return nil, err
		}
		names, err := apps.Kept(ctx, app, request.Values)
		return keptAnswer{filled(names)}, err
	}))
	s.handle(mux, "POST /v1/apps/{app}/stop", named(func(ctx context.Context, app string, _ call) (any, error) {
		return apps.Stop(ctx, app)
	}))
	s.handle(mux, "DELETE /v1/apps/{app}", named(func(ctx context.Context, app string, _ call) (any, error) {
		return apps.Delete(ctx, app)
	}))
}

// named gives a route the app of its path. "all" is refused here, so that no backend meets it.
func named(answer func(context.Context, string, call) (any, error)) func(context.Context, call) (any, error) {
	return func(ctx context.Context, c call) (any, error) {
		app := c.PathValue("app")
		if err := spec.ValidateName(app); err != nil {
			return nil, Errorf(CodeInvalid, "", "%v", err)
		}
		return answer(ctx, app, c)
	}
}

// filled makes an empty list of a missing one: scripts read [] and never null.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (s Status) filled() Status {
	s.Members, s.Apps, s.Warnings = filled(s.Members), filled(s.Apps), filled(s.Warnings)
	if s.Settings == nil {
		s.Settings = map[string]string{}
	}
	for i := range s.Members {
		if s.Members[i].Tags == nil {
			s.Members[i].Tags = map[string]string{}
		}
	}
	for i := range s.Apps {
		s.Apps[i].Listen = filled(s.Apps[i].Listen)
	}
	return s
}

func (d Description) filled() Description {
	d.Nodes, d.Exits, d.Listeners = filled(d.Nodes), filled(d.Exits), filled(d.Listeners)
	d.Status.Listen = filled(d.Status.Listen)
	for i := range d.Nodes {
		d.Nodes[i].Workers = filled(d.Nodes[i].Workers)
	}
	return d
}

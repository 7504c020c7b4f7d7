package api

import (
	"context"
	"net/http"
	"net/url"

	"meshnode/store/spec"
)

// Order is something that is done to workers, or to what they print, on every node. It changes no configuration.
type Order struct {
	What   string // What is one of the orders below.
	App    string // App is whose; empty = every app's.
	Signal string // Signal is such as "SIGUSR2", for OrderSignal.
}

// The orders.
const (
	OrderFlush  = "flush"  // empty the log files
	OrderReopen = "reopen" // close the log files and open them by their names
	OrderReset  = "reset"  // count restarts from 0
	OrderSignal = "signal" // send the workers' own processes a signal
)

// OrderAnswer is what became of an order on one node.
type OrderAnswer struct {
	Node  string `json:"node"`
	Error string `json:"error"` // empty = done
}

func (o Order) path(root string) string {
	return root + url.PathEscape(o.What) + "?" + url.Values{"app": {o.App}, "signal": {o.Signal}}.Encode()
}

// orderOf is the order that a request names.
func orderOf(c call) (Order, error) {
	o := Order{What: c.PathValue("order"), App: c.URL.Query().Get("app"), Signal: c.URL.Query().Get("signal")}
	switch o.What {
	case OrderFlush, OrderReopen, OrderReset, OrderSignal:
	default:
		return o, Errorf(CodeInvalid, sameVersion, "nothing is known of the order %q", o.What)
	}
	if o.App != "" {
		if err := spec.ValidateName(o.App); err != nil {
			return o, Errorf(CodeInvalid, "", "%v", err)
		}
	}
	return o, nil
}

// Tend carries out an order on every node.
func (c *Client) Tend(ctx context.Context, o Order) ([]OrderAnswer, error) {
	return post[[]OrderAnswer](ctx, c, o.path("/v1/orders/"), nil)
}

// TendLocal carries out an order on the peer.
func (c *Client) TendLocal(ctx context.Context, o Order) error {
	return c.call(ctx, http.MethodPost, o.path("/peer/v1/orders/"), nil, nil)
}

package appfile

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"meshnode/node/config"
	"meshnode/store/spec"
)

func logKeys() []key {
	l := func(d *draft) *spec.Logs { return &d.app.Logs }
	file := func(v value) (string, error) {
		word, err := v.scalar()
		if v.kind == boolean || strings.EqualFold(word, "null") || word == "/dev/null" {
			return "", err
		}
		return word, err
	}
	return []key{
		of("out_file", file, func(d *draft) *string { return &l(d).Out }, "output", "out", "out_log", "pm_out_log_path"),
		of("error_file", file, func(d *draft) *string { return &l(d).Err }, "error", "err", "err_file", "err_log", "error_log", "pm_err_log_path"),
		of("log_file", file, func(d *draft) *string { return &l(d).Both }, "log", "pm_log_path"),
		of("merge_logs", value.flag, func(d *draft) *bool { return &l(d).Merge }, "combine_logs"),
		of("disable_logs", value.flag, func(d *draft) *bool { return &l(d).Off }),
		of("log_date_format", func(v value) (string, error) {
			if v.kind == boolean && v.word == "false" {
				return "", nil
			}
			return v.scalar()
		}, func(d *draft) *string { return &l(d).DateFormat }),
		of("time", value.flag, func(d *draft) *bool { return &d.time }),
		{name: "log_type", set: func(d *draft, v value) error {
			word, err := v.scalar()
			if err != nil {
				return err
			}
			l(d).JSON = word == "json"
			return one(word, "json", "raw")
		}},
	}
}

// ownKeys are the keys that PM2 does not have.
func ownKeys() []key {
	return []key{
		{name: "mode", set: func(d *draft, v value) error {
			word, err := v.scalar()
			if err != nil {
				return err
			}
			d.app.Mode = spec.Mode(word)
			return one(word, string(spec.ModeAuto), string(spec.ModeCluster), string(spec.ModeSocket), string(spec.ModePort))
		}},
		{name: "stop_signal", set: func(d *draft, v value) error {
			word, err := v.scalar()
			if err != nil {
				return err
			}
			if word = strings.ToUpper(word); !strings.HasPrefix(word, "SIG") {
				word = "SIG" + word
			}
			d.app.Process.StopSignal = word
			return one(word, spec.StopSignals()...)
		}},
		of("drain_timeout", value.seconds, func(d *draft) *float64 { return &d.app.Timeouts.Drain }),
		group("rollout", rolloutKeys),
		group("health", healthKeys),
		group("balance", balanceKeys),
		group("limits", limitKeys),
		group("log_rotate", rotateKeys),
	}
}

// group is a key whose value is an object with keys of its own.
func group(name string, inner func() []key) key {
	return key{name: name, set: func(d *draft, v value) error {
		if v.kind != object {
			return fmt.Errorf("must be an object, and not %s", v.kind)
		}
		known := inner()
		for _, e := range v.keys {
			i := slices.IndexFunc(known, func(k key) bool { return k.name == snake(e.key) })
			if i < 0 {
				d.problem(e.line, name+"."+e.key, unknown(e.key, known))
				continue
			}
			if e.value.kind == null {
				continue
			}
			if err := known[i].set(d, e.value); err != nil {
				d.problem(e.line, name+"."+e.key, err)
			}
		}
		return nil
	}}
}

// unknown says that there is no such key, and which one is nearest.
func unknown(word string, known []key) error {
	var names []string
	for _, k := range known {
		names = append(names, k.name)
	}
	for _, k := range known {
		names = append(names, k.also...)
	}
	if near := config.Nearest(snake(word), names); near != "" {
		return fmt.Errorf("there is no such key; did you mean %s?", near)
	}
	if len(known) > 10 {
		return fmt.Errorf("there is no such key")
	}
	return fmt.Errorf("there is no such key; there are %s", strings.Join(names, ", "))
}

func rolloutKeys() []key {
	return []key{
		{name: "order", set: func(d *draft, v value) error {
			word, err := v.scalar()
			if err != nil {
				return err
			}
			word = strings.ReplaceAll(word, "_", "-")
			d.app.Order = spec.Order(word)
			return one(word, string(spec.OrderStartFirst), string(spec.OrderStopFirst))
		}},
		of("watch", orNever(value.seconds), func(d *draft) *float64 { return &d.app.Timeouts.Watch }),
	}
}

// orNever reads a time, of which 0 and false mean that it is not looked at at all.
func orNever(read func(value) (float64, error)) func(value) (float64, error) {
	return func(v value) (float64, error) {
		if v.kind == boolean && v.word == "false" {
			return -1, nil
		}
		s, err := read(v)
		if err == nil && s == 0 {
			s = -1
		}
		return s, err
	}
}

func healthKeys() []key {
	h := func(d *draft) *spec.Health { return &d.app.Health }
	return []key{
		{name: "type", set: func(d *draft, v value) error {
			word, err := v.scalar()
			h(d).TCP = word == "tcp"
			return cmp.Or(err, one(word, "http", "tcp"))
		}},
		of("path", value.scalar, func(d *draft) *string { return &h(d).Path }),
		of("interval", value.seconds, func(d *draft) *float64 { return &h(d).Interval }),
		of("timeout", value.seconds, func(d *draft) *float64 { return &h(d).Timeout }),
		of("fall", value.count, func(d *draft) *int { return &h(d).Fall }),
		of("rise", value.count, func(d *draft) *int { return &h(d).Rise }),
		of("hang", orNever(value.seconds), func(d *draft) *float64 { return &h(d).Hang }),
	}
}

func balanceKeys() []key {
	b := func(d *draft) *spec.Balance { return &d.app.Balance }
	limit := func(v value) (int, error) { // of which 0 is none, and not the default
		n, err := v.count()
		if v.kind == boolean && v.word == "false" {
			n, err = 0, nil
		}
		if err == nil && n == 0 {
			n = -1
		}
		return n, err
	}
	return []key{
		{name: "policy", set: func(d *draft, v value) error {
			word, err := v.scalar()
			if err != nil {
				return err
			}
			b(d).Policy = spec.Policy(snake(word))
			return one(snake(word), string(spec.PolicyLeastLoad), string(spec.PolicyRoundRobin), string(spec.PolicyLeastConnections),
				string(spec.PolicyRandom), string(spec.PolicyHash))
		}},
		of("concurrency", value.count, func(d *draft) *int { return &b(d).Concurrency }),
		of("max_connections", value.count, func(d *draft) *int { return &b(d).MaxConnections }),
		of("soft_limit", value.count, func(d *draft) *int { return &b(d).SoftLimit }),
		of("queue", limit, func(d *draft) *int { return &b(d).Queue }),
		of("queue_timeout", value.seconds, func(d *draft) *float64 { return &b(d).QueueTimeout }),
		of("slow_start", value.seconds, func(d *draft) *float64 { return &b(d).SlowStart }),
		of("draws", value.count, func(d *draft) *int { return &b(d).Draws }),
		of("margin", times, func(d *draft) *float64 { return &b(d).Margin }),
		of("zone_margin", times, func(d *draft) *float64 { return &b(d).ZoneMargin }),
	}
}

// times reads a multiple of the usual service time, of which 0 is nothing, and not the default.
func times(v value) (float64, error) {
	f, err := strconv.ParseFloat(v.word, 64)
	if err != nil || !(f >= 0) || v.kind != number && v.kind != text {
		return 0, fmt.Errorf("must be a number like 0.2, in service times, and not %s", v.shown())
	}
	if f == 0 {
		f = -1
	}
	return f, nil
}

func limitKeys() []key {
	l := func(d *draft) *spec.Limits { return &d.app.Process.Limits }
	whole := func(v value) (uint64, error) {
		n, err := v.count()
		return uint64(n), err
	}
	return []key{
		of("memory", value.bytes, func(d *draft) *uint64 { return &l(d).Memory }),
		of("cpu", func(v value) (float64, error) {
			f, err := strconv.ParseFloat(v.word, 64)
			if err != nil || f < 0 || v.kind != number && v.kind != text {
				return 0, fmt.Errorf("must be a number of cores like 0.5, and not %s", v.shown())
			}
			return f, nil
		}, func(d *draft) *float64 { return &l(d).CPU }),
		of("tasks", whole, func(d *draft) *uint64 { return &l(d).Tasks }),
		of("open_files", whole, func(d *draft) *uint64 { return &l(d).OpenFiles }),
		of("connections", value.count, func(d *draft) *int { return &d.app.Clients.Connections }),
		of("connections_per_client", value.count, func(d *draft) *int { return &d.app.Clients.PerClient }),
	}
}

func rotateKeys() []key {
	l := func(d *draft) *spec.Logs { return &d.app.Logs }
	return []key{
		of("size", value.bytes, func(d *draft) *uint64 { return &l(d).FileBytes }),
		of("keep", func(v value) (int, error) {
			n, err := v.count()
			if err == nil && n == 0 {
				err = errPositive
			}
			return n, err
		}, func(d *draft) *int { return &l(d).Keep }),
		of("cap", value.bytes, func(d *draft) *uint64 { return &l(d).Cap }),
	}
}

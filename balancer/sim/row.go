package sim

import (
	"fmt"
	"time"

	"meshnode/balancer"
)

// Row is a cell with its figures.
type Row struct {
	Bound
	Oracle, Mesh          Figures
	RoundRobin, LeastConn Figures
}

// Measure runs a cell: the oracle, the shipped default, and for cells that compare them the other policies.
func Measure(b Bound, seed uint64) Row {
	r := Row{Bound: b, Oracle: Oracle(b.Cell, seed), Mesh: Mesh(b.Cell, seed)}
	if b.Bound() {
		r.RoundRobin = Mesh(b.WithPolicy(balancer.PolicyRoundRobin), seed)
		r.LeastConn = Mesh(b.WithPolicy(balancer.PolicyLeastConnections), seed)
	}
	return r
}

// Bound tells that the cell compares policies.
func (b Bound) Bound() bool { return b.RoundRobin > 0 || b.LeastConn > 0 }

// WithPolicy returns the cell under another policy.
func (c Cell) WithPolicy(policy string) Cell {
	c.Set = balancer.DefaultSettings()
	c.Set.Policy = policy
	return c
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

// Broken lists the bounds that do not hold.
func (r Row) Broken() []string {
	var out []string
	most := func(what string, got, bound float64) {
		if bound > 0 && !(got <= bound) {
			out = append(out, fmt.Sprintf("%s is %.3f, at most %.3f is allowed", what, got, bound))
		}
	}
	most("p99 / oracle", ratio(r.Mesh.P99, r.Oracle.P99), r.P99)
	most("the forwarded share", r.Mesh.Forwarded, r.Forwarded)
	most("the dispersion", r.Mesh.Fano, r.Fano)
	most("p99 in ms", ms(r.Mesh.P99), ms(r.Most99))
	most("p99.9 in ms", ms(r.Mesh.P999), ms(r.Most999))
	if r.Bound.Bound() {
		most("the share of round robin's p99", ratio(r.Mesh.P99, r.RoundRobin.P99)*slack, inverse(r.Bound.RoundRobin))
		most("the share of least connections' p99", ratio(r.Mesh.P99, r.LeastConn.P99)*slack, inverse(r.Bound.LeastConn))
	}
	if !r.Mesh.Claims {
		out = append(out, "claims taken are not claims given back")
	}
	return out
}

func inverse(f float64) float64 {
	if f == 0 {
		return 0
	}
	return 1 / f
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Header is that of the table that Line is a line of.
const Header = "| cell | p99 ms | / oracle (bound) | p99.9 ms | oracle's | forwarded (bound) | round robin / mesh (study) | least conn. / mesh (study) | dispersion | no room, lost | |\n" +
	"| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"

// Line is the row as a line of a table.
func (r Row) Line() string {
	bound := func(v, b float64, format string) string {
		s := fmt.Sprintf(format, v)
		if b > 0 {
			s += fmt.Sprintf(" ("+format+")", b)
		}
		return s
	}
	absolute := func(d, b time.Duration) string { return bound(ms(d), ms(b), "%.1f") }
	rr, lc := "", ""
	if r.Bound.Bound() {
		rr, lc = bound(ratio(r.RoundRobin.P99, r.Mesh.P99), r.Bound.RoundRobin, "%.2f"), bound(ratio(r.LeastConn.P99, r.Mesh.P99), r.Bound.LeastConn, "%.2f")
		if ratio(r.RoundRobin.P99, r.Mesh.P99) > 10 {
			rr = "unstable"
		}
	}
	holds := "holds"
	if b := r.Broken(); len(b) > 0 {
		holds = fmt.Sprint(b)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %.1f | %s | %s | %s | %s | %d, %d | %s |\n", r.Name, absolute(r.Mesh.P99, r.Most99),
		bound(ratio(r.Mesh.P99, r.Oracle.P99), r.P99, "%.3f"), absolute(r.Mesh.P999, r.Most999), ms(r.Oracle.P999), bound(r.Mesh.Forwarded, r.Forwarded, "%.2f"),
		rr, lc, bound(r.Mesh.Fano, r.Fano, "%.2f"), r.Mesh.Refused, r.Mesh.Lost, holds)
}

package sim

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var whole = flag.String("whole", "", "run all cells in full, and write the table into this `file`")

// TestStudy holds the bounds of the study's smaller cells, on few connections.
func TestStudy(t *testing.T) {
	cells := slices.Concat(Study(60000), Skewed(40000)[:2], Faulty(60000)[:1], Real(60000)[:2])
	for _, b := range cells {
		if b.Nodes > 10 || b.Nodes == 10 && testing.Short() {
			continue
		}
		if b.Age > Reports { // what comes before the second report is another cell
			b.Arrivals *= 4
		}
		t.Run(b.Name, func(t *testing.T) {
			t.Parallel()
			r := Measure(b, 1)
			t.Log(r.Line())
			for _, broken := range r.Broken() {
				t.Error(broken)
			}
		})
	}
}

// TestSeeded runs the same seed twice.
func TestSeeded(t *testing.T) {
	c := Study(5000)[0].Cell
	if a, b := Mesh(c, 3), Mesh(c, 3); !reflect.DeepEqual(a, b) {
		t.Errorf("%+v and %+v", a, b)
	}
	if a, b := Mesh(c, 3), Mesh(c, 4); reflect.DeepEqual(a, b) {
		t.Error("another seed changes nothing")
	}
}

// TestErlang compares one node whose workers have one line with Erlang's formula.
func TestErlang(t *testing.T) {
	c := Cell{Size: Size{Nodes: 1, Workers: 4, Pool: true}, Load: 0.9, Arrivals: 400000}
	const wait = 19.69 // ms: C(4, 3.6) = 0.7878, times 10 ms / (4 - 3.6)
	got := ms(Oracle(c, 1).Mean)
	if want := 10 + wait; got < 0.96*want || got > 1.04*want {
		t.Errorf("mean %.2f ms, want %.2f", got, want)
	}
}

// TestWhole runs everything, where it is asked for.
func TestWhole(t *testing.T) {
	if *whole == "" {
		t.Skip("only with -whole; see make sim")
	}
	var b strings.Builder
	b.WriteString(head)
	for _, part := range []struct {
		name  string
		cells []Bound
	}{
		{"The cells of the policy study", Study(1000000)}, {"Beyond them: 1,000 nodes", Large(3000000)}, {"Workers with lines of their own", Real(1000000)},
		{"One slow server, heavy requests", Skewed(600000)}, {"A node falls silent", Faulty(200000)},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n%s", part.name, Header)
		for _, c := range part.cells {
			begun := time.Now()
			r := Measure(c, 1)
			t.Logf("%s%v", r.Line(), time.Since(begun).Round(time.Millisecond))
			b.WriteString(r.Line())
			for _, broken := range r.Broken() {
				t.Errorf("%s: %s", c.Name, broken)
			}
		}
	}
	if err := os.WriteFile(*whole, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

const head = `# What the policy does in simulation

Written by ` + "`make sim`" + `, seed 1. The shipped code decides (package balancer, one Balancer for each node); the rest is simulated: work of 10 ms on average,
exponential unless said otherwise; a hop of 0.5 ms; reports every 50 ms to the peers of the aperture. Service times are measured from the simulated
connections, waiting included. The oracle joins the queue of the whole cluster that is over soonest, with perfect knowledge and no hop. Round robin and
least connections are our own policies of that name; their columns are p99 over p99, with the study's figure, which may be missed by a tenth. Dispersion is the
variance of the connections that a node gets in 20 ms over their mean: 1 is by chance, and nodes that herd have more than 10.
"No room" counts forwards that a full peer refused, and which went elsewhere.
`

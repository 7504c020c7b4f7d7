package e2e

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"meshnode/e2e/bench/load"
	"meshnode/e2e/lab"
)

// Variables of the measurement of large clusters: how many servers each, and the file that the figures go into.
const (
	clusterSizes = "MESHNODE_E2E_CLUSTER"
	clusterFile  = "MESHNODE_E2E_CLUSTER_FILE"
)

// large is a cluster that is measured.
type large struct {
	t     *testing.T
	size  int
	l     *lab.Lab
	nodes []*lab.Node
	rows  []string // of the table
}

// Clusters of many servers, each with one neighbour: they become one, carry load, and agree on deaths and joins. Every figure is printed.
func TestLargeClusters(t *testing.T) {
	if os.Getenv(clusterSizes) == "" {
		t.Skipf("%s says of how many servers, with commas between; see make cluster50", clusterSizes)
	}
	var table []string
	for _, text := range strings.Split(os.Getenv(clusterSizes), ",") {
		size, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(text, func(t *testing.T) {
			c := &large{t: t, size: size, l: lab.NewRouted(t, size)}
			c.run()
			table = append(table, c.rows...)
		})
	}
	write(t, table)
}

func (c *large) run() {
	c.begin()
	c.deploy()
	time.Sleep(settle)
	idle := c.look("idle", span(10*time.Second, 30*time.Second))
	if all := 100 * float64(runtime.NumCPU()); idle > all/2 {
		c.row("under load", "not measured: idle, they take %.0f %% of this machine", 100*idle/all)
	} else {
		c.measure(fmt.Sprintf("%d requests/s of 10 ms, through all", 4*c.size), c.doors(c.size, 4))
		c.measure("150 requests/s of 10 ms, all through one", c.doors(1, 150))
	}
	c.death(c.size - 1)
	c.death(c.leader())
	c.join()
}

// settle is how long servers are left alone before they are looked at.
const settle = 5 * time.Second

// row notes a figure.
func (c *large) row(what, format string, args ...any) {
	figure := fmt.Sprintf(format, args...)
	c.t.Logf("%s: %s", what, figure)
	c.rows = append(c.rows, fmt.Sprintf("| %d | %s | %s |", c.size, what, figure))
}

// begin starts all servers at once with the same line, and waits until they are one cluster.
func (c *large) begin() {
	for i := range c.size {
		c.nodes = append(c.nodes, c.prepare(c.l.Host(i+1)))
	}
	begun := time.Now()
	var wg sync.WaitGroup
	for _, n := range c.nodes {
		wg.Go(n.Restart)
	}
	wg.Wait()
	started := time.Since(begun)
	c.nodes[0].Voters(3*time.Minute, c.size, min(c.size, 5))
	voters := time.Since(begun)
	var last time.Time
	for _, n := range c.nodes {
		if at := c.seen("member joined", n, begun, time.Minute); at.After(last) {
			last = at
		}
	}
	c.row("started at once with the same line", "all processes are there after %.1f s, all see all after %.1f s, %d voters after %.1f s", started.Seconds(),
		last.Sub(begun).Seconds(), min(c.size, 5), voters.Seconds())
	measured(c.t, 58, "%d servers: all see all after %.1f s, %d voters after %.1f s", c.size, last.Sub(begun).Seconds(), min(c.size, 5), voters.Seconds())
}

func (c *large) prepare(h *lab.Host) *lab.Node {
	return h.Prepare("-join", c.l.Host(1).IP+":7946", "-http", h.IP+":7947")
}

// seen waits until all others have logged what became of a node, and returns when the last one did.
func (c *large) seen(what string, about *lab.Node, since time.Time, limit time.Duration) time.Time {
	c.t.Helper()
	var last time.Time
	lab.Eventually(c.t, limit, func() error {
		for _, n := range c.nodes {
			if n == about {
				continue
			}
			at := n.Logged(fmt.Sprintf("%s: peer=%s ", what, about.Name), since)
			if at.IsZero() {
				return fmt.Errorf("%s has not logged %q of %s", n.Name, what, about.Name)
			}
			if at.After(last) {
				last = at
			}
		}
		return nil
	})
	return last
}

// deploy starts an app with a worker on each server.
func (c *large) deploy() {
	begun := time.Now()
	c.nodes[0].Must("start", "-n", "any", "-i", "1", "-mode", "port", "-port", "8080", goProgram(c.t))
	ready(c.t, c.nodes[0], c.size, 3*time.Minute)
	c.row("an app with a worker on each server", "all ready after %.1f s", time.Since(begun).Seconds())
}

// leader is the place of the leader among the nodes.
func (c *large) leader() int {
	s, err := c.nodes[0].Status()
	if err != nil {
		c.t.Fatal(err)
	}
	return slices.IndexFunc(c.nodes, func(n *lab.Node) bool { return n.Name == s.Leader })
}

// doors is a load of new connections through so many servers, so many a second through each.
func (c *large) doors(servers, rate int) *load.Options {
	o := load.Options{Addr: c.nodes[0].IP + ":8080", Dial: c.l.Dial, Rate: rate * servers, Seed: 1, Work: load.Work{Mean: 10 * time.Millisecond}, Timeout: 10 * time.Second,
		Late: time.Second}
	for _, n := range c.nodes[1:servers] {
		o.More = append(o.More, n.IP+":8080")
	}
	return &o
}

// measure looks at all servers under a load.
func (c *large) measure(what string, o *load.Options) {
	c.t.Helper()
	o.At, o.Event = settle, func() { c.look(what, span(10*time.Second, 30*time.Second)) }
	rep, err := load.Run(*o)
	if err != nil {
		c.t.Fatal(err)
	}
	c.row(what, "%d requests, %d failed %v; p50 %.1f ms, p99 %.1f ms; %d workers answered", rep.Sent, rep.Failed, rep.Classes, rep.P50, rep.P99, len(rep.By))
	for _, f := range rep.Failures {
		c.t.Errorf("due %.3f s after the begin, failed %.3f s later: %s", f.At, f.After, f.Error)
	}
}

// look notes what the servers use in a span of time, and returns the processor time of all, in % of one core.
func (c *large) look(what string, span time.Duration) float64 {
	begun := time.Now()
	before, client := c.l.Traffic()
	used := make([]time.Duration, len(c.nodes))
	for i, n := range c.nodes {
		used[i] = n.CPU()
	}
	time.Sleep(span)
	after, clientNow := c.l.Traffic()
	took := time.Since(begun).Seconds()
	for i, n := range c.nodes {
		used[i] = n.CPU() - used[i]
	}
	var in, out, cpu, rss, pss, files, links []float64
	var packets float64
	for i, n := range c.nodes {
		d := after[i].Sub(before[i])
		in, out = append(in, float64(d.InBytes)*8/1000/took), append(out, float64(d.OutBytes)*8/1000/took)
		packets += float64(d.OutPackets) / took
		cpu = append(cpu, 100*used[i].Seconds()/took)
		u := n.Usage()
		rss, pss, files = append(rss, float64(u.RSS)/(1<<20)), append(pss, float64(u.PSS)/(1<<20)), append(files, float64(u.Files))
		links = append(links, c.gauge(n, "meshnode_mesh_links_up"))
	}
	d := clientNow.Sub(client)
	size := float64(len(c.nodes))
	c.row(what+": bandwidth of a server, kbit/s", "in %s, out %s; without the client's, mean out %.0f; %.0f packets/s out", spread(in), spread(out),
		mean(out)-float64(d.InBytes)*8/1000/took/size, packets/size-float64(d.InPackets)/took/size)
	c.row(what+": processor time of a server, % of a core", "%s; all together %.0f", spread(cpu), mean(cpu)*size)
	c.row(what+": memory of a server, MB", "resident %s, shared parts divided %s", spread(rss), spread(pss))
	c.row(what+": open files of a server; load streams that it reads", "%s; %s", spread(files), spread(links))
	return mean(cpu) * size
}

// spread is the mean of figures, and the least and the most.
func spread(v []float64) string {
	return fmt.Sprintf("%.1f (%.1f to %.1f)", mean(v), slices.Min(v), slices.Max(v))
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// gauge is a figure of a server's metrics.
func (c *large) gauge(n *lab.Node, name string) float64 {
	c.t.Helper()
	return gauge(c.t, c.l, n, name)
}

func gauge(t *testing.T, l *lab.Lab, n *lab.Node, name string) float64 {
	t.Helper()
	res, err := l.Client(true).Get(fmt.Sprintf("http://%s:7947/metrics", n.IP))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		var v float64
		if _, err := fmt.Sscanf(lines.Text(), name+" %g", &v); err == nil {
			return v
		}
	}
	t.Fatalf("%s has no metric %s", n.Name, name)
	return 0
}

// death kills a server with all its processes, and waits until all others say so.
func (c *large) death(i int) {
	c.t.Helper()
	n := c.nodes[i]
	who := "a server"
	if i == c.leader() {
		who = "the leader"
	}
	begun := time.Now()
	n.SignalAll(syscall.SIGKILL)
	n.Kill()
	last := c.seen("member failed", n, begun, time.Minute)
	c.row(who+" killed", "all others say so after %.1f s", last.Sub(begun).Seconds())
	measured(c.t, 8, "%s of %d killed: all others say so after %.1f s", who, c.size, last.Sub(begun).Seconds())
	witness := c.nodes[(i+1)%len(c.nodes)]
	took := lab.Eventually(c.t, time.Minute, func() error {
		s, err := witness.Status()
		if err == nil && (s.Leader == "" || s.Leader == n.Name || !s.Quorum) {
			err = fmt.Errorf("%s sees leader %q", witness.Name, s.Leader)
		}
		return err
	})
	c.t.Logf("%s sees a leader and a quorum %.1f s later", witness.Name, took.Seconds())
	begun = time.Now()
	n.Restart()
	last = c.seen("member joined", n, begun, time.Minute)
	c.row(who+" started again", "all others say so after %.1f s", last.Sub(begun).Seconds())
}

// join adds a server.
func (c *large) join() {
	n := c.prepare(c.l.AddHost())
	begun := time.Now()
	n.Restart()
	last := c.seen("member joined", n, begun, time.Minute)
	served := lab.Eventually(c.t, time.Minute, func() error {
		a, err := lab.Get(c.l.Client(true), n.URL(8080, "/"))
		if err == nil && a.Node != n.Name {
			err = fmt.Errorf("served by %s", a.Node)
		}
		return err
	})
	c.row("one more server", "all others say so after %.1f s; it has served with a worker of its own %.1f s later at the latest", last.Sub(begun).Seconds(), served.Seconds())
	c.nodes = append(c.nodes, n)
}

// write puts the table into the file that the variable names.
func write(t *testing.T, rows []string) {
	t.Helper()
	path := os.Getenv(clusterFile)
	if path == "" || t.Failed() {
		return
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const from, to = "<!-- figures -->\n", "<!-- end -->\n"
	head, rest, _ := strings.Cut(string(raw), from)
	_, tail, ok := strings.Cut(rest, to)
	if !ok {
		t.Fatalf("%s has no place for the figures", path)
	}
	table := fmt.Sprintf("%d processors, %s/%s. Where servers differ: the mean (the least to the most).\n\n| servers | what | figure |\n| --- | --- | --- |\n%s\n",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, strings.Join(rows, "\n"))
	if err := os.WriteFile(path, []byte(head+from+table+to+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

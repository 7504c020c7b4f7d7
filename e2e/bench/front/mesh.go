package front

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"meshnode/e2e/bench/contender"
)

// doorName is the node that runs no workers.
const doorName = "door"

// onTheWay is how many connections a server is given beyond those that it serves at once: one counts from when it is sent there (count).
const onTheWay = 1

// Mesh is a cluster of meshnode on loopback addresses. Its servers are workers.
type Mesh struct {
	bin    string
	dir    string
	policy string
	tls    bool // bytes between nodes are encrypted, as by default

	nodes []*node
	key   string
}

// node is one node of the cluster.
type node struct {
	*process
	name string
	ip   string
	data string
}

// Open implements Front.
func (m *Mesh) Open(ctx context.Context, s Service) error {
	out, err := exec.CommandContext(ctx, m.bin, "keygen").Output()
	if err != nil {
		return fmt.Errorf("meshnode keygen: %w", err)
	}
	m.key = strings.TrimSpace(string(out))
	if s.Door {
		if err := m.add(doorName, 1, "-no-workers"); err != nil {
			return err
		}
	}
	for i := range s.Nodes {
		if err := m.add(fmt.Sprintf("s%d", i+1), i+2); err != nil {
			return err
		}
	}
	if err := m.whole(ctx); err != nil {
		return err
	}
	if !m.tls {
		if _, err := m.verb(ctx, "set", "forward=plain"); err != nil {
			return err
		}
	}
	if err := m.start(ctx, s); err != nil {
		return err
	}
	for _, n := range m.nodes {
		if err := answers(ctx, n.door(), n.process); err != nil {
			return err
		}
	}
	return nil
}

// start hands the service to the cluster.
func (m *Mesh) start(ctx context.Context, s Service) error {
	args := []string{"-n", "web", "-i", strconv.Itoa(s.Servers / s.Nodes)}
	if !s.Node {
		args = append(args, "-mode", "port", "-port", strconv.Itoa(doorPort))
	}
	env := maps.Clone(s.Env)
	if env == nil {
		env = make(map[string]string)
	}
	env["APP_PORT"] = strconv.Itoa(doorPort)
	for _, k := range slices.Sorted(maps.Keys(env)) {
		args = append(args, "-env", k+"="+env[k])
	}
	if s.Slots > 0 {
		args = append(args, "-concurrency", strconv.Itoa(s.Slots), "-max-connections", strconv.Itoa(s.Slots+onTheWay))
	}
	if m.policy != "" {
		args = append(args, "-policy", strings.ReplaceAll(m.policy, " ", "_"))
	}
	args = append(args, s.Command[0])
	if more := s.Command[1:]; len(more) > 0 {
		args = append(append(args, "--"), more...)
	}
	_, err := m.verb(ctx, "start", args...)
	return err
}

// add starts one more node, at 127.0.0.<place>.
func (m *Mesh) add(name string, place int, flags ...string) error {
	n := &node{name: name, ip: fmt.Sprintf("127.0.0.%d", place), data: filepath.Join(m.dir, name)}
	join := n.ip
	if len(m.nodes) > 0 {
		join = m.nodes[0].ip
	}
	args := append([]string{m.bin, "-node", name, "-data-dir", n.data, "-http", "off", "-bind", n.ip + ":7946", "-app-bind", n.ip, "-join", join + ":7946"}, flags...)
	var err error
	if n.process, err = launch(m.dir, name, contender.Environ("MESHNODE_KEY="+m.key), args...); err != nil {
		return err
	}
	m.nodes = append(m.nodes, n)
	return nil
}

// whole waits until every node is in, and the configuration can be changed.
func (m *Mesh) whole(ctx context.Context) error {
	for end := time.Now().Add(30 * time.Second); ; {
		raw, err := m.verb(ctx, "status", "-json")
		var s struct {
			Leader  string `json:"leader"`
			Quorum  bool   `json:"quorum"`
			Members []struct {
				Status string `json:"status"`
				Role   string `json:"role"`
			} `json:"members"`
		}
		if err == nil {
			err = json.Unmarshal([]byte(raw), &s)
		}
		in := 0
		for _, x := range s.Members {
			if x.Status == "alive" && x.Role != "" {
				in++
			}
		}
		if err == nil && s.Quorum && s.Leader != "" && in == len(m.nodes) {
			return nil
		}
		if time.Now().After(end) {
			return errors.Join(err, fmt.Errorf("the nodes did not become one cluster: %s", contender.Last(raw, 600)))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// verb runs a verb at the first node.
func (m *Mesh) verb(ctx context.Context, verb string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, m.bin, append([]string{verb}, args...)...)
	c.Env = contender.Environ("MESHNODE_DATA_DIR=" + m.nodes[0].data)
	out, err := c.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("meshnode %s: %w: %s", verb, err, contender.Last(string(out), 600))
	}
	return string(out), nil
}

func (n *node) door() string { return n.ip + ":" + strconv.Itoa(doorPort) }

// own are the node's own processes: those that run meshnode.
func (n *node) own(bin string) []int {
	var out []int
	for _, pid := range n.pids() {
		if contender.Executable(pid) == bin {
			out = append(out, pid)
		}
	}
	return out
}

// Doors implements Front.
func (m *Mesh) Doors() []string {
	var out []string
	for _, n := range m.nodes {
		out = append(out, n.door())
	}
	return out
}

// Processes implements Front. The first node is the one that clients come by.
func (m *Mesh) Processes() Processes {
	p := Processes{Own: m.nodes[0].own(m.bin)}
	for i, n := range m.nodes {
		if i > 0 {
			p.Back = append(p.Back, n.own(m.bin)...)
		}
		if n.name != doorName {
			p.Servers = append(p.Servers, n.pids())
		}
	}
	return p
}

// Version implements Front.
func (m *Mesh) Version(ctx context.Context) (string, error) { return firstLine(ctx, m.bin, "version") }

// Close implements Front.
func (m *Mesh) Close() error {
	for _, n := range m.nodes {
		n.end()
	}
	return nil
}

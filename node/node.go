package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"meshnode/balancer"
	"meshnode/balancer/datagram"
	"meshnode/balancer/proxy"
	"meshnode/mesh"
	"meshnode/mesh/mux"
	"meshnode/node/audit"
	"meshnode/node/config"
	"meshnode/node/load"
	"meshnode/node/supervisor"
	"meshnode/node/supervisor/keeper"
	"meshnode/node/supervisor/nodeipc"
	"meshnode/node/telemetry"
	"meshnode/store"
	"meshnode/store/spec"
)

// RunOptions are what Run is told beside the settings.
type RunOptions struct {
	Out     io.Writer      // Out gets the few lines that greet an operator.
	Version string         // Version of the binary.
	App     *spec.App      // App is put on the cluster once it can be, and Keeper told so (KeptApp); nil = none.
	Keeper  *keeper.Client // Keeper forks the workers, and keeps what outlives this process.
}

// Node is one server of the cluster while it runs.
type Node struct {
	s     config.Settings
	o     RunOptions
	log   hclog.Logger
	tele  *telemetry.Metrics
	dir   *folder
	who   self
	mux   *mux.Mux
	mesh  *mesh.Mesh
	store *store.Store
	dataPath
	sup    *supervisor.Supervisor
	routes *routes
	life   lifecycle
	view   view
	access
}

// access is who is let in, and by which keys.
type access struct {
	door doorkeeper
	keys *keyring // nil = insecure
}

// dataPath is where clients' connections and datagrams go, and how.
type dataPath struct {
	bal       *balancer.Balancer
	proxy     *proxy.Server
	datagrams *datagram.Server
}

// self is who this server is to the others.
type self struct {
	identity
	addr    string // advertised peer address
	cores   int
	started time.Time
	founder bool     // it founded its cluster at this start
	made    bool     // the key is new
	join    []string // addresses to join by
}

// view is what the node's parts look at together.
type view struct {
	members  atomic.Pointer[map[string]mesh.Member]
	draining atomic.Bool
	sampler  *load.Sampler
	clients  clients
	learned  chan learnt
	reports  chan struct{} // wakes keepReporting
	exits    exits
	audit    *audit.Log
	kept     [2]*keptSockets // listeners of the data path, and sockets that workers share
}

// lifecycle ends what was started, in reverse.
type lifecycle struct {
	wg      sync.WaitGroup
	cancel  context.CancelFunc
	stop    chan error // why the node must end, first one wins
	closers []closer
}

// The parts that a node which is replaced by another binary does not close.
const (
	partData    = "data path"
	partWorkers = "workers"
	partShared  = "sockets of workers"
)

type closer struct {
	name  string
	close func() error
}

// yieldError ends a node that gives up its own empty cluster for another.
type yieldError struct{ cluster, addr string }

func (e *yieldError) Error() string {
	return fmt.Sprintf("giving up the empty cluster for %s at %s", e.cluster, e.addr)
}

// errLeft ends a node that has left its cluster.
var errLeft = errors.New("left the cluster")

// Run runs the node until ctx ends, then drains and stops it. The error is for the operator.
func Run(ctx context.Context, s config.Settings, o RunOptions) error {
	log := telemetry.NewLogger(os.Stderr, s.LogLevel, s.LogJSON)
	dir, err := openFolder(s.DataDir)
	if err != nil {
		return err
	}
	defer dir.close()
	tele, err := telemetry.NewMetrics()
	if err == nil {
		err = telemetry.BridgeLibraries(tele)
	}
	if err != nil {
		return err
	}
	if s.Insecure {
		log.Warn("running with -insecure: no key, no encryption; anyone who reaches the peer port can take the cluster over")
	}
	var after *yieldError
	for {
		n := &Node{s: s, o: o, log: log, tele: tele, dir: dir}
		err := n.run(ctx, after)
		switch {
		case errors.As(err, &after):
			log.Warn("this server's empty cluster is given up", "reason", err)
			if err := dir.reset(s.Node); err != nil {
				return err
			}
		case errors.Is(err, errLeft):
			return dir.reset(s.Node)
		default:
			return err
		}
	}
}

// reset makes the folder that of a new server: no configuration, another identity.
func (f *folder) reset(node string) error {
	if err := store.Remove(f.join("raft")); err != nil {
		return fmt.Errorf("remove the configuration of the former cluster: %w", err)
	}
	_, err := f.newIdentity(node)
	return err
}

// run is one life of the node, from open to close.
func (n *Node) run(ctx context.Context, after *yieldError) (err error) {
	inner, cancel := context.WithCancel(ctx)
	n.life.cancel = cancel
	n.life.stop = make(chan error, 1)
	defer func() {
		n.life.cancel()
		n.close()
	}()
	switch err := n.open(inner, after); {
	case err != nil && ctx.Err() != nil: // it was to end while it waited
		return nil
	case err != nil:
		return err
	}
	n.greet()
	if err := n.o.Keeper.Ready(); err != nil {
		return fmt.Errorf("tell the keeper that the node serves: %w", err)
	}
	select {
	case <-inner.Done():
		err = nil
	case err = <-n.life.stop:
	case <-n.o.Keeper.Yield():
		return n.handOver(ctx)
	}
	n.drain()
	return err
}

// end has the node stop for the given reason; the first reason counts.
func (n *Node) end(why error) {
	select {
	case n.life.stop <- why:
	default:
	}
}

// closeLater registers what ends a part that was opened; close runs them in reverse.
func (n *Node) closeLater(name string, f func() error) {
	n.life.closers = append(n.life.closers, closer{name, f})
}

func (n *Node) close() {
	for i := len(n.life.closers) - 1; i >= 0; i-- {
		c := n.life.closers[i]
		if err := c.close(); err != nil && !errors.Is(err, net.ErrClosed) {
			n.log.Warn("not closed cleanly", "what", c.name, "err", err)
		}
	}
	n.life.wg.Wait()
}

// open starts the parts in order; what was started when one fails is closed again by run.
func (n *Node) open(ctx context.Context, after *yieldError) error {
	if err := n.openSelf(ctx, after); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{n.openStore, n.openData, n.openMesh, n.openDesk, n.openAudit, n.openPeers, n.openLoops, n.openHTTP, n.openOperators, n.openSocket} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// openSelf settles who this server is, with which key, and opens the peer port.
func (n *Node) openSelf(ctx context.Context, after *yieldError) error {
	id, err := n.dir.identity(n.s.Node)
	if err != nil {
		return err
	}
	if _, err := os.Stat(n.dir.join(givenUpFile)); err == nil {
		return n.dir.givenUp()
	}
	old, err := store.HasState(n.dir.join("raft"))
	if err != nil {
		return err
	}
	n.who = self{identity: id, started: time.Now(), cores: n.s.Cores, join: n.s.Join}
	if n.who.cores == 0 {
		n.who.cores = supervisor.UsableCores("/")
	}
	n.who.founder = !old && after == nil && founds(n.s)
	if after != nil {
		n.who.join = append([]string{after.addr}, n.s.Join...)
	}
	key, made, err := n.dir.clusterKey(n.s, n.who.founder)
	if errors.Is(err, errNoKey) {
		key, err = n.askAdmission(ctx)
	}
	if err != nil {
		return err
	}
	n.who.made = made
	use, also, err := n.openKeys(key)
	if err != nil {
		return err
	}
	n.mux, err = mux.Open(mux.Options{Bind: n.s.Bind, Key: use, Also: also, Self: mux.Identity{ID: id.ID, Name: n.s.Node, Role: mux.RoleServer}, Logger: n.log, Metrics: n.tele.Metrics})
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("the peer port %s is in use by another program; stop it, or choose another port with -bind", n.s.Bind)
	}
	if err != nil {
		return err
	}
	n.closeLater("peer port", n.mux.Close)
	n.who.addr, err = advertised(n.s, n.mux.Addr(), n.dir.formerAddress(old))
	if err != nil {
		return err
	}
	n.dir.keepAddress(n.who.addr)
	if n.who.founder && len(n.who.join) > 1 {
		n.who.founder = !n.othersHaveCluster()
	}
	return nil
}

// openData opens the data path and the supervisor, with no worker yet.
func (n *Node) openData(context.Context) error {
	n.bal = balancer.New(n.s.Node)
	n.bal.SetNode("", balancer.Node{Zone: n.s.Zone, Weight: n.s.Weight})
	kept, err := n.o.Keeper.Kept()
	if err != nil {
		return fmt.Errorf("take over from the former run: %w", err)
	}
	n.view.kept = [2]*keptSockets{newKeptSockets(n.o.Keeper, keptListeners, kept, n.log), newKeptSockets(n.o.Keeper, keptShared, kept, n.log)}
	n.proxy = proxy.New(proxy.Options{Balancer: n.bal, DialPeer: n.dialForward, PeerOf: mux.NameOf, PeerPort: n.mux.Addr().Port(), Keep: n.view.kept[0],
		Direct: n.s.Direct, Logger: n.log})
	n.closeLater(partData, n.proxy.Close)
	n.datagrams = datagram.New(datagram.Options{Picker: n.bal.Picker, DialPeer: n.dialDatagrams, Keep: n.view.kept[1], Direct: n.s.Direct, Logger: n.log,
		Passed: takeSessions(n.o.Keeper, kept), Worker: func(worker, key string) (netip.AddrPort, bool) { return n.routes.datagramsAt(worker, key) }})
	n.closeLater("datagrams", n.datagrams.Close)
	n.view.reports = make(chan struct{}, 1)
	n.routes = newRoutes(n, n.view.kept[1])
	if len(kept) == 0 { // nobody waits there
		nodeipc.Sweep(n.dir.join("run"))
	}
	n.closeLater(partShared, n.routes.shared.closeAll)
	preload := ""
	if !n.s.NoPreload {
		p, err := nodeipc.WritePreload(n.dir.join("run"))
		if err != nil {
			return err
		}
		preload = p
	}
	n.sup = supervisor.New(supervisor.Options{Dir: n.dir.path, Node: n.s.Node, NodeID: n.who.ID, Preload: preload, Keeper: n.o.Keeper, Cgroups: true,
		Router: n.routes, OnLoad: n.routes.load, OnExit: n.view.exits.add, Logger: n.log, Metrics: n.tele.Metrics})
	n.closeLater(partWorkers, n.endWorkers)
	n.view.sampler = load.NewSampler("/proc", n.pids)
	if k := supervisor.KillOrphans(n.who.ID, n.sup.Adopt(kept)); k > 0 {
		n.log.Warn("ended processes that a former run of this node left behind", "count", k)
	}
	return nil
}

// shutdownLimit is how long a stopping node waits for its workers before it kills them; an app's own deadlines usually end it earlier.
const shutdownLimit = 60 * time.Second

// endWorkers drains and ends all workers. A second call finds none.
func (n *Node) endWorkers() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownLimit)
	defer cancel()
	n.sup.Close(ctx)
	return nil
}

// drain is the first part of an orderly stop, during which all else goes on: the peers are told, nothing new is accepted, the leadership goes
// to another, and the workers finish what they have.
func (n *Node) drain() {
	n.view.draining.Store(true)
	n.report()
	n.routes.shut()
	n.proxy.StopAccepting()
	if err := n.store.TransferLeadership(); err == nil {
		n.log.Info("leadership handed over")
	}
	begun := time.Now()
	_ = n.endWorkers()
	// What is left came in here and is served by peers.
	ctx, cancel := context.WithDeadline(context.Background(), begun.Add(forwardDrain))
	defer cancel()
	if n.proxy.Drained(ctx) != nil {
		n.log.Warn("connections that peers serve were cut", "count", n.proxy.Stats().Open)
	}
}

// forwardDrain is how long a stopping node waits for the connections that it passed on to peers, from the beginning of the drain.
const forwardDrain = spec.DefaultDrainSeconds * time.Second

func (n *Node) pids() []int {
	var out []int
	for _, st := range n.sup.Status() {
		out = append(out, st.PID)
	}
	return out
}

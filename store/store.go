package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	metrics "github.com/armon/go-metrics"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"meshnode/store/fsm"
	"meshnode/store/raftlog"
)

const (
	// transportTimeout bounds one exchange between two servers, dialling included.
	transportTimeout = 10 * time.Second
	// pooledStreams is how many idle streams raft keeps to each peer.
	pooledStreams = 3
	// keptSnapshots is how many snapshots stay on disk.
	keptSnapshots = 2
	// closePatience is how long Close waits for a disk that does not take the raft term.
	closePatience = 5 * time.Second
)

// Options say which server to open. ID, Addr, Dir, Listener and Dial are required.
type Options struct {
	// ID is the server's Raft identity: the node's ID, never its name, never used again after its disk is lost.
	ID string
	// Addr is the peer address the others reach this server at, "host:port".
	Addr string
	// Dir is the server's own folder.
	Dir string
	// Listener delivers raft streams from peers that may speak to this server; the store owns it.
	Listener net.Listener
	// Dial opens a raft stream to a peer.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// PeerOf, which may be nil, tells the identity of the server at the other end of a stream that Listener has delivered. Messages in the name of
	// another one are refused then.
	PeerOf func(net.Conn) string
	// May, which may be nil, tells whether the server with that identity may still speak to this one. It must not block.
	May func(id string) bool
	// AddrOf, which may be nil, knows the present address of a server better than the Raft configuration does: servers
	// that all came back with new addresses find each other by it. It must not block.
	AddrOf func(id string) (addr string, ok bool)
	// Found, when not empty and the folder holds no state, founds a cluster of one server with this identity.
	Found string
	// LeaderTasks run while this server leads.
	LeaderTasks []LeaderTask
	// Logger gets what cannot be returned; nil for none.
	Logger hclog.Logger
	// Metrics gets what is counted; nil for none.
	Metrics *metrics.Metrics
}

// Store is one server of the Raft cluster.
type Store struct {
	id      string
	dir     string
	logger  hclog.Logger
	meter   meter
	feed    *feed
	machine machine
	log     *raftlog.Log
	raft    *raft.Raft
	stream  *stream
	leader  *leadership
	disk    *disk
	hash    atomic.Pointer[hashed]
	kept    chan struct{} // closed when the keeper has ended
	recovered
	life
}

// life is what Close and the changes under way share.
type life struct {
	mu        sync.Mutex
	closing   bool
	proposals int
	wg        sync.WaitGroup
	once      sync.Once
	closeErr  error
}

// HasState reports whether dir holds the state of a server: then it rejoins with that, always.
func HasState(dir string) (bool, error) { return raftlog.HasState(dir) }

// Remove deletes the state of a server from dir, so that it can join as a new one, under a new ID. The store in it must
// be closed.
func Remove(dir string) error { return raftlog.Remove(dir) }

// Open opens the server in o.Dir and starts it. It reads the whole log once but does not wait for a leader: a new server
// knows nothing until one adds it. It fails with the errors of package raftlog, ErrSnapshotLost,
// or when the disk does not take a write. Unusable tells which of them only a new folder ends.
func Open(o Options) (*Store, error) {
	if o.ID == "" || o.Addr == "" || o.Dir == "" || o.Listener == nil || o.Dial == nil {
		return nil, errors.New("open store: ID, Addr, Dir, Listener and Dial are required")
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	d := newDisk()
	log, err := raftlog.Open(raftlog.Options{
		Dir: o.Dir, ID: o.ID, Cluster: o.Found, Logger: o.Logger.Named("raftlog"), Wrote: d.wrote,
		Check: readableCommand,
	})
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := newStore(o, log, d)
	if err := s.start(o); err != nil {
		return nil, errors.Join(fmt.Errorf("open store: %w", err), s.stream.Close(), log.Close())
	}
	return s, nil
}

func newStore(o Options, log *raftlog.Log, d *disk) *Store {
	s := &Store{
		id: o.ID, dir: o.Dir, log: log, disk: d, meter: meter{o.Metrics},
		logger: o.Logger.Named("store"),
		kept:   make(chan struct{}),
	}
	s.feed = newFeed(s.meter)
	s.machine = machine{fsm.New(s.feed.publish), s.logger}
	s.stream = newStream(o, s.meter)
	s.leader = newLeadership(s, append([]LeaderTask{d.watch}, o.LeaderTasks...))
	return s
}

// start brings raft up on what newStore laid out.
func (s *Store) start(o Options) error {
	kept, err := recall(s.dir, s.log.Cluster())
	if err != nil {
		s.logger.Warn("starting without the kept configuration", "err", err)
	} else if kept != nil {
		s.feed.publish(kept)
	}
	logger := o.Logger.Named("raft")
	if !logger.IsDebug() {
		// Raft keeps a diary of every election and every stream, with warnings in a normal start. What an operator needs of it is in
		// Status and in this package's own lines; the diary is there with the debug level.
		logger.SetLevel(hclog.Error)
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(s.dir, keptSnapshots, logger)
	if err != nil {
		return fmt.Errorf("open snapshots in %s: %w", s.dir, err)
	}
	last, err := s.reach(snapshots, s.feed.current.Load().Index)
	if err != nil {
		return err
	}
	if err := s.recover(last); err != nil {
		return err
	}
	var server atomic.Pointer[raft.Raft]
	transport := newTransport(o, s.stream, logger, &server)
	config := s.raftConfig(logger)
	if err := s.bootstrap(o, config, snapshots, transport); err != nil {
		return errors.Join(err, transport.Close())
	}
	s.raft, err = raft.NewRaft(config, s.machine, s.log, s.log, snapshots, transport)
	if err != nil {
		return errors.Join(fmt.Errorf("start raft: %w", err), transport.Close())
	}
	server.Store(s.raft)
	go s.leader.run()
	go s.keep(s.feed.watch(context.Background()))
	return nil
}

func (s *Store) raftConfig(logger hclog.Logger) *raft.Config {
	config := raft.DefaultConfig()
	config.LocalID = raft.ServerID(s.id)
	config.NotifyCh = s.leader.notify
	config.Logger = logger
	config.NoLegacyTelemetry = true
	// A server that was removed goes on listening: it may be added again.
	config.ShutdownOnRemove = false
	return config
}

// bootstrap makes this server the only one of a new cluster, if it was told to and is new.
func (s *Store) bootstrap(o Options, config *raft.Config, snapshots raft.SnapshotStore, transport raft.Transport) error {
	if o.Found == "" {
		return nil
	}
	exists, err := raft.HasExistingState(s.log, s.log, snapshots)
	if err != nil {
		return fmt.Errorf("look for state: %w", err)
	}
	if exists {
		return nil
	}
	first := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(o.ID), Address: raft.ServerAddress(o.Addr)}}}
	if err := raft.BootstrapCluster(config, s.log, s.log, snapshots, transport, first); err != nil {
		return fmt.Errorf("found cluster: %w", err)
	}
	return nil
}

// Close ends the leader's tasks, waits for the changes under way, and stops the server. It does not hand over the
// leadership: call TransferLeadership before for a quick change. A second call waits for the first. It must not be called
// by a LeaderTask.
func (s *Store) Close() error {
	s.once.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

// close goes in this order because raft forgets promises once it is shut down: those who wait on it must be gone by then.
func (s *Store) close() error {
	patience := time.AfterFunc(closePatience, s.log.Abort)
	defer patience.Stop()
	close(s.leader.stop)
	<-s.leader.idle
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.wg.Wait()
	down := s.raft.Shutdown()
	s.log.Abort()
	s.stream.abort()
	err := down.Error()
	close(s.leader.quit)
	<-s.leader.done
	s.feed.close()
	<-s.kept
	return errors.Join(err, s.log.Close())
}

package node

import (
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"meshnode/balancer/proxy"
	"meshnode/node/supervisor/keeper"
)

// The beginnings of the names under which the keeper keeps sockets: then the app and the listener's key.
const (
	keptListeners = "listen/" // of the data path
	keptShared    = "share/"  // that workers have in common
)

// KeptApp is the name under which the keeper knows that the app of the verb run was put on the cluster. What became of it since is the
// configuration's: a node that is started again, or from another binary, does not put it once more.
const KeptApp = "app"

// keptSockets are sockets of one kind that outlive this process.
type keptSockets struct {
	client *keeper.Client
	kind   string
	log    hclog.Logger

	mu   sync.Mutex
	left map[string]int // descriptors of a former run that nobody has taken yet, by name
}

func newKeptSockets(c *keeper.Client, kind string, all []keeper.Kept, log hclog.Logger) *keptSockets {
	k := &keptSockets{client: c, kind: kind, log: log, left: make(map[string]int)}
	for _, e := range all {
		if strings.HasPrefix(e.Name, kind) && len(e.FDs) == 1 {
			k.left[e.Name] = e.FDs[0]
		}
	}
	return k
}

func (k *keptSockets) name(app, key string) string { return k.kind + app + "/" + key }

// Take implements proxy.Keep.
func (k *keptSockets) Take(app, key string) (int, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	name := k.name(app, key)
	fd, ok := k.left[name]
	delete(k.left, name)
	return fd, ok
}

// Hold implements proxy.Keep.
func (k *keptSockets) Hold(app, key string, fd int) {
	if err := k.client.Hold(k.name(app, key), nil, fd); err != nil {
		k.log.Warn("a listening socket would not outlive this process", "app", app, "err", err)
	}
}

// Drop implements proxy.Keep.
func (k *keptSockets) Drop(app, key string) { _ = k.client.Drop(k.name(app, key)) } // a keeper that is gone keeps nothing

// dropLeft closes the sockets that nobody wants any more: the configuration changed while no node ran here.
func (k *keptSockets) dropLeft() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, fd := range k.left {
		unix.Close(fd)
		_ = k.client.Drop(name)
		delete(k.left, name)
	}
}

var _ proxy.Keep = (*keptSockets)(nil)

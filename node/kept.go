package node

import (
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"meshnode/balancer/proxy"
	"meshnode/node/supervisor/keeper"
)

// keptListenerPrefix begins the names under which the keeper keeps listening sockets: app, then the listener's key.
const keptListenerPrefix = "listen/"

// keptListeners are the listening sockets that outlive this process.
type keptListeners struct {
	client *keeper.Client
	log    hclog.Logger

	mu   sync.Mutex
	left map[string]int // descriptors of a former run that nobody has taken yet, by name
}

func newKeptListeners(c *keeper.Client, all []keeper.Kept, log hclog.Logger) *keptListeners {
	k := &keptListeners{client: c, log: log, left: make(map[string]int)}
	for _, e := range all {
		if strings.HasPrefix(e.Name, keptListenerPrefix) && len(e.FDs) == 1 {
			k.left[e.Name] = e.FDs[0]
		}
	}
	return k
}

func keptListener(app, key string) string { return keptListenerPrefix + app + "/" + key }

// Take implements proxy.Keep.
func (k *keptListeners) Take(app, key string) (int, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	name := keptListener(app, key)
	fd, ok := k.left[name]
	delete(k.left, name)
	return fd, ok
}

// Hold implements proxy.Keep.
func (k *keptListeners) Hold(app, key string, fd int) {
	if err := k.client.Hold(keptListener(app, key), nil, fd); err != nil {
		k.log.Warn("a listening socket would not outlive this process", "app", app, "err", err)
	}
}

// Drop implements proxy.Keep.
func (k *keptListeners) Drop(app, key string) { _ = k.client.Drop(keptListener(app, key)) } // a keeper that is gone keeps nothing

// dropLeft closes the sockets that nobody wants any more: the configuration changed while no node ran here.
func (k *keptListeners) dropLeft() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, fd := range k.left {
		unix.Close(fd)
		_ = k.client.Drop(name)
		delete(k.left, name)
	}
}

var _ proxy.Keep = (*keptListeners)(nil)

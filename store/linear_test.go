package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"meshnode/store/fsm"
	"meshnode/store/spec"
)

// histories is the variable that says how many histories TestLinearizable makes.
const histories = "MESHNODE_HISTORIES"

// TestLinearizable has clients read and change a few apps through all servers, by compare-and-set, while servers are killed, cut off in both
// directions or one, and brought back, and checks that what they saw could have happened one after the other.
func TestLinearizable(t *testing.T) {
	n := 6
	if v, err := strconv.Atoi(os.Getenv(histories)); err == nil {
		n = v
	}
	var all tally
	for seed := range n {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { all.add(history(t, uint64(seed))) })
		})
	}
	t.Logf("%d histories: %d operations, %d of them done, %d refused, %d with an outcome that was not known; leaders changed %d times",
		n, all.done+all.refused+all.unknown, all.done, all.refused, all.unknown, all.terms)
	if all.done < 50*n || all.unknown == 0 && n > 100 {
		t.Error("too little got through, or too little was disturbed, to show anything")
	}
}

// tally counts operations.
type tally struct{ done, refused, unknown, terms int }

func (a *tally) add(b tally) {
	a.done, a.refused, a.unknown, a.terms = a.done+b.done, a.refused+b.refused, a.unknown+b.unknown, a.terms+b.terms
}

// request is one operation on an app: a read, or a change from one value to another. "" is the value of an app that does not exist.
type request struct {
	app      string
	read     bool
	from, to string
}

// answer is what came of it.
type answer struct {
	value   string // read
	changed bool
	unknown bool // it may happen at any later time, or never
}

// registers is the model: each app is a register of its own.
func registers() porcupine.Model {
	return porcupine.Model{
		Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
			byApp := make(map[string][]porcupine.Operation)
			for _, op := range all {
				app := op.Input.(request).app
				byApp[app] = append(byApp[app], op)
			}
			var out [][]porcupine.Operation
			for _, ops := range byApp {
				out = append(out, ops)
			}
			return out
		},
		Init: func() any { return "" },
		Step: func(state, input, output any) (bool, any) {
			is, in, out := state.(string), input.(request), output.(answer)
			switch {
			case in.read:
				return out.value == is, is
			case out.unknown && is == in.from, out.changed && is == in.from:
				return true, in.to
			case out.unknown:
				return true, is // to happen after all others is not to happen
			}
			return !out.changed && is != in.from, is
		},
		Equal: func(a, b any) bool { return a == b },
	}
}

// recorder collects operations.
type recorder struct {
	mu    sync.Mutex
	begun time.Time
	ops   []porcupine.Operation
	tally tally
}

// note records an operation that was answered now; a change whose outcome is not known lasts for ever.
func (r *recorder) note(client int, called time.Duration, in request, out answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := int64(time.Since(r.begun))
	switch {
	case out.unknown:
		end = math.MaxInt64
		r.tally.unknown++
	case in.read || out.changed:
		r.tally.done++
	default:
		r.tally.refused++
	}
	r.ops = append(r.ops, porcupine.Operation{ClientId: client, Input: in, Call: int64(called), Output: out, Return: end})
}

// history makes one and checks it.
func history(t *testing.T, seed uint64) tally {
	c := grow(t, 5)
	r := &recorder{begun: time.Now()}
	w := &workload{cluster: c, recorder: r}
	var wg sync.WaitGroup
	for client := range 5 {
		wg.Go(func() { w.client(client, rand.New(rand.NewPCG(seed, uint64(client)))) })
	}
	w.disturb(rand.New(rand.NewPCG(seed, 99)))
	wg.Wait()
	c.put("last")
	c.settle() // equal hashes
	for _, s := range c.stores {
		r.tally.terms = max(r.tally.terms, int(s.Status().Term))
	}
	switch res := porcupine.CheckOperationsTimeout(registers(), r.ops, time.Minute); res {
	case porcupine.Ok:
	case porcupine.Illegal:
		_, info := porcupine.CheckOperationsVerbose(registers(), r.ops, time.Minute)
		file, err := os.CreateTemp("", "history-*.html")
		if err == nil {
			err = errors.Join(porcupine.Visualize(registers(), info, file), file.Close())
		}
		t.Errorf("seed %d: not linearizable; see %s (%v)", seed, file.Name(), err)
	default:
		t.Errorf("seed %d: the check did not come to an end", seed)
	}
	return r.tally
}

// workload is what clients do while servers come and go.
type workload struct {
	*cluster
	*recorder
	servers sync.RWMutex // guards the cluster's stores: a client holds a store that may be closed, but not the map
}

// any returns one of the stores that are open.
func (w *workload) any(rng *rand.Rand) *Store {
	w.servers.RLock()
	defer w.servers.RUnlock()
	k := rng.IntN(len(w.stores))
	for _, s := range w.stores {
		if k--; k < 0 {
			return s
		}
	}
	return nil
}

// byID is the store of a server, nil while it is down.
func (w *workload) byID(id string) *Store {
	w.servers.RLock()
	defer w.servers.RUnlock()
	return w.stores[id]
}

func (w *workload) client(number int, rng *rand.Rand) {
	for i := range 40 {
		name := fmt.Sprintf("app%d", rng.IntN(2))
		at, called := w.any(rng), time.Since(w.begun)
		ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
		is, err := w.read(ctx, at, name)
		cancel()
		if err == nil {
			w.note(number, called, request{app: name, read: true}, answer{value: valueOf(is)})
			time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond) // others may be faster
			if rng.IntN(4) > 0 {
				w.change(number, rng, is, name, fmt.Sprintf("%d-%d", number, i))
			}
		}
		time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond)
	}
}

// valueOf is the value that an app has in the model.
func valueOf(a *spec.App) string {
	if a == nil {
		return ""
	}
	return a.Command[1]
}

// read asks the leader that the server knows how far it is, and reads at that server.
func (w *workload) read(ctx context.Context, at *Store, name string) (*spec.App, error) {
	index, err := at.ReadIndex(ctx)
	var other *NotLeaderError
	if errors.As(err, &other) {
		leader := w.byID(other.ID)
		if leader == nil {
			return nil, err
		}
		index, err = leader.ReadIndex(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := at.WaitIndex(ctx, index); err != nil {
		return nil, err
	}
	if app, ok := at.State().Apps[name]; ok {
		return &app, nil
	}
	return nil, nil
}

// change puts or deletes the app, from the version that was read. The clock that stands in the command is off by up to a day.
func (w *workload) change(number int, rng *rand.Rand, is *spec.App, name, value string) {
	var modified uint64
	if is != nil {
		modified = is.Modified
	}
	in := request{app: name, from: valueOf(is), to: value}
	c := fsm.Command{Put: &fsm.Put{App: spec.App{Name: name, Command: []string{"node", value}, Dir: "/srv"}, PrevModified: modified,
		Time: 1_700_000_000 + rng.Int64N(2*86400)}}
	if is != nil && rng.IntN(4) == 0 {
		in.to = ""
		c = fsm.Command{Delete: &fsm.Delete{Name: name, PrevModified: modified}}
	}
	called := time.Since(w.begun)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	at := w.any(rng)
	_, err := at.Apply(ctx, c)
	var other *NotLeaderError
	if errors.As(err, &other) {
		if leader := w.byID(other.ID); leader != nil {
			_, err = leader.Apply(ctx, c)
		}
	}
	switch {
	case err == nil:
		w.note(number, called, in, answer{changed: true})
	case errors.Is(err, fsm.ErrConflict), errors.Is(err, fsm.ErrExists), errors.Is(err, fsm.ErrNotFound):
		w.note(number, called, in, answer{})
	case errors.As(err, &other), errors.Is(err, ErrNoLeader), errors.Is(err, ErrBusy), errors.Is(err, ErrClosed): // for certain it was not made
	default:
		w.note(number, called, in, answer{unknown: true})
	}
}

// disturb kills, cuts and brings back servers, two of the five at a time at most.
func (w *workload) disturb(rng *rand.Rand) {
	for range 5 {
		time.Sleep(time.Duration(300+rng.IntN(1200)) * time.Millisecond)
		id := fmt.Sprintf("s%d", 1+rng.IntN(5))
		if rng.IntN(2) == 0 {
			if s := w.byID(id); s != nil && s.Status().LeaderID != "" {
				id = s.Status().LeaderID // leaders are worth more
			}
		}
		stay := time.Duration(500+rng.IntN(3500)) * time.Millisecond
		switch rng.IntN(3) {
		case 0:
			w.servers.Lock()
			s := w.stores[id]
			delete(w.stores, id)
			w.servers.Unlock()
			w.net.isolate(addrOf(id)) // as a crash does, it says no goodbye
			if err := s.Close(); err != nil {
				w.t.Errorf("close %s: %v", id, err)
			}
			time.Sleep(stay)
			w.net.heal(addrOf(id))
			back, err := Open(w.options(id, ""))
			if err != nil {
				w.t.Errorf("open %s: %v", id, err)
				return
			}
			w.servers.Lock()
			w.stores[id] = back
			w.servers.Unlock()
		case 1:
			w.net.isolate(addrOf(id))
			time.Sleep(stay)
			w.net.heal(addrOf(id))
		case 2:
			for i := 1; i <= 5; i++ {
				if rng.IntN(2) == 0 {
					w.net.sever(addrOf(id), fmt.Sprintf("s%d.test:7946", i))
				}
			}
			time.Sleep(stay)
			w.net.mend()
		}
	}
}

package nodeipc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// Estate is what the successor of a Family needs beside the sockets, in the order of their files: the rendezvous, if Door is set, then one for
// each of Channels, the started process's own first, if Root is set.
type Estate struct {
	Door     bool
	Path     string // Path is where the rendezvous is; without a Door it is made anew there.
	Root     bool
	Channels []Remains
}

// Detach hands all channels over, as Channel.Detach does one; then Run returns ErrDetached. Who asks for a channel meanwhile waits for
// the successor. On an error the family is closed. Run must be running.
func (f *Family) Detach(ctx context.Context) ([]*os.File, Estate, error) {
	f.mu.Lock()
	if f.closed || f.leaving {
		f.mu.Unlock()
		return nil, Estate{}, ErrClosed
	}
	f.leaving = true
	f.mu.Unlock()
	files, e, err := f.dissolve(ctx)
	if err != nil {
		closeAll(files)
		f.mu.Lock()
		f.leaving = false
		f.mu.Unlock()
		f.Close()
		return nil, Estate{}, err
	}
	f.mu.Lock()
	f.closed = true
	close(f.done)
	f.mu.Unlock()
	return files, e, nil
}

func (f *Family) dissolve(ctx context.Context) ([]*os.File, Estate, error) {
	e := Estate{Path: f.path}
	var files []*os.File
	if f.l != nil {
		door, err := f.takeDoor()
		if err != nil {
			return nil, e, fmt.Errorf("hand over the worker's rendezvous: %w", err)
		}
		e.Door, files = true, append(files, door)
	}
	if f.root != nil {
		file, rest, err := f.root.Detach(ctx)
		if err != nil {
			return files, e, err
		}
		e.Root, e.Channels, files = true, append(e.Channels, rest), append(files, file)
	}
	for _, ch := range f.all() {
		if ch == f.root {
			continue
		}
		file, rest, err := ch.Detach(ctx)
		if errors.Is(err, ErrClosed) {
			continue // it has ended by itself
		}
		if err != nil {
			return files, e, err
		}
		e.Channels, files = append(e.Channels, rest), append(files, file)
	}
	return files, e, nil
}

// takeDoor stops accepting, and returns a duplicate of the rendezvous; its name stays.
func (f *Family) takeDoor() (*os.File, error) {
	if err := f.l.SetDeadline(time.Unix(1, 0)); err != nil {
		return nil, err
	}
	f.accepting.Wait()
	door, err := f.l.File()
	if err != nil {
		return nil, err
	}
	f.l.SetUnlinkOnClose(false)
	return door, f.l.Close()
}

func closeAll(files []*os.File) {
	for _, file := range files {
		file.Close()
	}
}

// AdoptFamily continues a family over files, which it takes, after a Detach, or after a predecessor that died (see Adopt).
func AdoptFamily(files []*os.File, e Estate, user int, h Handler) (*Family, error) {
	f := emptyFamily(user, h)
	var door *os.File
	if e.Door && len(files) > 0 {
		door, files = files[0], files[1:]
		defer door.Close()
	}
	if len(files) != len(e.Channels) {
		closeAll(files)
		return nil, fmt.Errorf("adopt the worker's IPC channels: %d sockets for %d channels", len(files), len(e.Channels))
	}
	for i, file := range files {
		ch, err := Adopt(file, e.Channels[i], nil)
		if err != nil {
			closeAll(files[i+1:])
			f.Close()
			return nil, err
		}
		f.join(ch)
		if i == 0 && e.Root {
			f.root = ch
		}
		for _, k := range e.Channels[i].Held {
			f.holder[k] = ch
		}
	}
	if err := f.reopen(door, e.Path); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// reopen takes over the rendezvous, or makes it anew.
func (f *Family) reopen(door *os.File, path string) error {
	if door == nil {
		if path == "" {
			return nil
		}
		return f.open(path)
	}
	l, err := net.FileListener(door)
	if err != nil {
		return fmt.Errorf("adopt the worker's rendezvous: %w", err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return errors.New("adopt the worker's rendezvous: it is no Unix socket")
	}
	u.SetUnlinkOnClose(true)
	f.l, f.path = u, path
	return nil
}

// handedOver reports whether a successor goes on with the channels.
func (f *Family) handedOver() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.leaving
}

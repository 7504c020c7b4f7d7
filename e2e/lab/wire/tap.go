package wire

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// openTap makes a TAP device in a network namespace. It lives as long as its file is open.
func openTap(namespace, device string) (*os.File, error) {
	type result struct {
		dev *os.File
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, with its namespace
		dev, err := tapHere(namespace, device)
		done <- result{dev, err}
	}()
	r := <-done
	if r.err != nil {
		return nil, fmt.Errorf("device %s in namespace %s: %w", device, namespace, r.err)
	}
	return r.dev, nil
}

// tapHere takes the calling thread into the namespace. The device belongs to where the control file is opened.
func tapHere(namespace, device string) (*os.File, error) {
	ns, err := os.Open(filepath.Join("/run/netns", namespace))
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	request, err := unix.NewIfreq(device)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), device), nil // after TUNSETIFF: before it, the poller sees a file in error
}

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// Disk is a disk of its own under a folder, whose power can be cut.
type Disk struct {
	lab   *Lab
	dir   string
	image string // the file that is the disk; "" = it is in memory
}

// MountDisk puts a disk of some size under a folder, which is made. The test is skipped where that is not allowed. It is removed with the test, once
// nobody uses it.
func (l *Lab) MountDisk(dir string, megabytes int) *Disk {
	l.t.Helper()
	l.share()
	d := &Disk{lab: l, dir: dir, image: dir + ".disk"}
	f, err := os.Create(d.image)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := f.Truncate(int64(megabytes) << 20); err != nil {
		l.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		l.t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", d.image).CombinedOutput(); err != nil {
		l.t.Skipf("no ext4 here: %v: %s", err, out)
	}
	d.mount("-o", "loop", d.image)
	return d
}

// MountMemory is the same with a disk in memory, which forgets all when its power is cut.
func (l *Lab) MountMemory(dir string, megabytes int) *Disk {
	l.t.Helper()
	d := &Disk{lab: l, dir: dir}
	d.mount("-t", "tmpfs", "-o", fmt.Sprintf("size=%dm,mode=700", megabytes), "meshnode-test")
	return d
}

// share has what is unmounted here be unmounted for the hosts too, each of which has a copy of what was mounted when it was started. A disk whose power
// was cut stays as it was while anybody has it.
func (l *Lab) share() {
	l.t.Helper()
	if l.shared {
		return
	}
	l.shared = true
	for _, args := range [][]string{{"--bind", l.dir, l.dir}, {"--make-shared", l.dir}} {
		if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
			l.t.Skipf("no right to mount: %v: %s", err, out)
		}
	}
	l.t.Cleanup(func() { _ = exec.Command("umount", "-l", l.dir).Run() })
}

func (d *Disk) mount(args ...string) {
	d.lab.t.Helper()
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		d.lab.t.Fatal(err)
	}
	if out, err := exec.Command("mount", append(args, d.dir)...).CombinedOutput(); err != nil {
		d.lab.t.Skipf("no right to mount: %v: %s", err, out)
	}
	d.lab.t.Cleanup(func() { // runs before the lab is removed, whose nodes hold the folder
		for _, n := range d.lab.nodes {
			n.Kill()
		}
		d.unmount()
	})
}

// unmount waits until nobody holds the disk any more.
func (d *Disk) unmount() {
	d.lab.t.Helper()
	Eventually(d.lab.t, 10*time.Second, func() error {
		if out, err := exec.Command("umount", d.dir).CombinedOutput(); err != nil {
			return fmt.Errorf("umount: %w: %s", err, out)
		}
		return nil
	})
}

// The request of the kernel that ends an ext4 at once, and the way in which a power cut does: what is not on the disk yet is gone, the journal's end too.
const (
	ext4Shutdown   = 0x8004587d
	withoutJournal = 2
)

// Cut cuts the power: nothing is written any more from now on, and what was not on the disk by now is lost.
func (d *Disk) Cut() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return fmt.Errorf("cut the power: %w", err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), ext4Shutdown, withoutJournal); err != nil {
		return fmt.Errorf("cut the power of %s: %w", d.dir, err)
	}
	return nil
}

// Again mounts the disk anew, as a server does that starts. All that used it have ended.
func (d *Disk) Again() {
	d.lab.t.Helper()
	d.unmount()
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.dir).CombinedOutput(); err != nil {
		d.lab.t.Fatalf("mount: %v: %s", err, out)
	}
}

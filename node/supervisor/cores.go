package supervisor

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// UsableCores is how many workers fit this node at one per core: the cores of its affinity mask, cut to its cgroup's CPU quota, at least
// one. root is "/" outside tests. (runtime.NumCPU knows the mask, GOMAXPROCS the quota too, but never less than 2.)
func UsableCores(root string) int {
	n := affinity()
	if q := quota(root); q > 0 {
		n = min(n, int(math.Ceil(q)))
	}
	return max(n, 1)
}

func affinity() int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 1
	}
	return set.Count()
}

// quota returns the CPU quota of this process's cgroup and of all above it, in cores; 0 = none. Both cgroup versions.
func quota(root string) float64 {
	raw, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0
	}
	least := 0.0
	note := func(q float64) {
		if q > 0 && (least == 0 || q < least) {
			least = q
		}
	}
	for _, line := range strings.Split(string(raw), "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) != 3 {
			continue
		}
		base, read := filepath.Join(root, "sys/fs/cgroup"), quotaV2
		if f[0] != "0" {
			if !strings.Contains(","+f[1]+",", ",cpu,") {
				continue
			}
			base, read = filepath.Join(base, f[1]), quotaV1
			if _, err := os.Stat(base); err != nil {
				base = filepath.Join(root, "sys/fs/cgroup/cpu")
			}
		}
		for dir := filepath.Clean("/" + f[2]); ; dir = filepath.Dir(dir) {
			note(read(filepath.Join(base, dir)))
			if dir == "/" {
				break
			}
		}
	}
	return least
}

func quotaV2(dir string) float64 {
	raw, err := os.ReadFile(filepath.Join(dir, "cpu.max"))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(raw))
	if len(f) != 2 || f[0] == "max" {
		return 0
	}
	return ratio(f[0], f[1])
}

func quotaV1(dir string) float64 {
	q, err1 := os.ReadFile(filepath.Join(dir, "cpu.cfs_quota_us"))
	p, err2 := os.ReadFile(filepath.Join(dir, "cpu.cfs_period_us"))
	if err1 != nil || err2 != nil {
		return 0
	}
	return ratio(strings.TrimSpace(string(q)), strings.TrimSpace(string(p)))
}

// ratio divides two decimal numbers; anything that is no positive quota is 0.
func ratio(quota, period string) float64 {
	q, err1 := strconv.ParseFloat(quota, 64)
	p, err2 := strconv.ParseFloat(period, 64)
	if err1 != nil || err2 != nil || q <= 0 || p <= 0 {
		return 0
	}
	return q / p
}

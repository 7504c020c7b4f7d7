package front

import (
	"math"
	"testing"
)

func TestConnsFitTheDescriptors(t *testing.T) {
	for limit, want := range map[uint64]int{0: 64, 1024: 384, 20_000: 7_500, 30_000: 10_500, math.MaxUint64: 10_500} {
		if got := connsOf(limit); got != want {
			t.Errorf("with a limit of %d: %d, want %d", limit, got, want)
		}
	}
}

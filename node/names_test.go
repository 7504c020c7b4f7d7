package node

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	var wg sync.WaitGroup
	x := newNames(&wg)
	if got := x.forms(t.Context(), "10.1.2.3:7946", 0); !slices.Equal(got, []string{"10.1.2.3:7946"}) {
		t.Errorf("an address becomes %v", got)
	}
	if got := x.forms(t.Context(), "localhost:7946", time.Minute); !slices.Contains(got, "127.0.0.1:7946") {
		t.Errorf("localhost is %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := x.forms(ctx, "nobody.invalid:7946", time.Minute); len(got) != 0 {
		t.Errorf("nobody is %v", got)
	}
	wg.Wait()
}

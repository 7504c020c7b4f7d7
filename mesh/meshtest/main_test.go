package meshtest_test

import (
	"os"
	"runtime"
	"testing"
)

// TestMain runs the tests on one processor: see golang/go#78156.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	os.Exit(m.Run())
}

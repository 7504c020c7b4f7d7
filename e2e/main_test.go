package e2e

import (
	"os"
	"testing"

	"meshnode/e2e/lab"
)

func TestMain(m *testing.M) {
	code := m.Run()
	lab.Cleanup()
	os.Exit(code)
}

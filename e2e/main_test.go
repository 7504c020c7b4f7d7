package e2e

import (
	"fmt"
	"os"
	"testing"

	"meshnode/e2e/lab"
)

func TestMain(m *testing.M) {
	code := m.Run()
	lab.Cleanup()
	if err := writeMatrix(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

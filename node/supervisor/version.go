package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// VersionOf asks the meshnode binary at path which version it is: whether it runs on this machine at all shows in that.
func VersionOf(ctx context.Context, path string, limit time.Duration) (string, error) {
	if !filepath.IsAbs(path) {
		return "", errors.New("the path is not absolute")
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c := exec.CommandContext(ctx, path, "version", "-json")
	c.Env = slices.DeleteFunc(os.Environ(), ownVariable) // the cluster key is no business of a file that may be anything
	raw, err := c.Output()
	if err != nil {
		return "", unwrapExec(err)
	}
	var v struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(raw, &v); err != nil || v.Version == "" {
		return "", fmt.Errorf("it does not say its version")
	}
	return v.Version, nil
}

// unwrapExec takes the wrapping off that would repeat the program's name.
func unwrapExec(err error) error {
	var path interface{ Unwrap() error }
	if errors.As(err, &path) && path.Unwrap() != nil {
		return path.Unwrap()
	}
	return err
}

package main

import (
	"context"
	"flag"
	"runtime"
	"runtime/debug"
)

func versionVerb() verb {
	return verb{
		name: "version", brief: "print the version of this program",
		examples: []string{"meshnode version"},
		declare: func(fs *flag.FlagSet) action {
			var asJSON bool
			fs.BoolVar(&asJSON, "json", false, "print JSON, for scripts")
			return func(_ context.Context, c *console, in input) error {
				if err := in.noArgs(); err != nil {
					return err
				}
				if asJSON {
					return c.printJSON(map[string]string{
						"version": c.version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
					})
				}
				return c.print("meshnode %s (%s, %s/%s)", c.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			}
		},
	}
}

// version returns the version the Go toolchain stamped into this binary from its tag or commit, or "dev".
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}

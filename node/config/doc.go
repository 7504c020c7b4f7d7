// Package config holds the settings of one server: its own flags, environment variables and settings file.
//
// The three sources mean the same thing and differ in weight: file < environment < flag. A setting is called -data-dir
// on the command line, MESHNODE_DATA_DIR in the environment and data_dir in the file. A list from a stronger source
// replaces the list of a weaker one; the two are never mixed.
//
// It is not the cluster's configuration (that is replicated and lives in store/spec), it opens nothing but the settings
// file, and it imports no other package of meshnode.
//
// Concurrency: everything here is a value or is used by one goroutine while the process starts. Settings may be copied
// and read freely once loaded; nobody changes its maps and slices afterwards.
//
// Errors: Load, Flags.Resolve and Settings.Validate report every problem at once, joined with errors.Join. Each problem
// is one line that names the place (flag, variable, or file and line), what is wrong and what to do.
//
// Files in reading order: settings.go (what there is, and the defaults), options.go (the table of names), load.go (the
// three layers), file.go (the settings file), validate.go (what must hold), address.go (forms of addresses), args.go
// (flags before and after arguments), nearest.go ("did you mean").
package config

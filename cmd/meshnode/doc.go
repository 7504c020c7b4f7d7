// Command meshnode runs a node of a mesh, and is the operator's hand on it.
//
// "meshnode [flags]" runs the node in the foreground; "meshnode <verb>" asks the node that runs on this server over its
// Unix socket. Results go to standard output, progress and errors to standard error. Exit codes: 0 done, 1 failed,
// 2 refused or rolled back.
//
// It is not where anything is decided: verbs translate words into one request of node/api and its answer into lines. It
// is the only package that calls os.Exit, reads os.Args and catches signals, and only main.go does.
//
// Concurrency: a verb runs on the main goroutine, which is locked to the main thread because a node forks its workers
// there. The node itself runs on goroutines of its own (run_node.go).
//
// Errors: every verb returns its error to execute, which prints it once and picks the exit code.
//
// Files in reading order: main.go, console.go (what a verb may touch, errors and exit codes), verbs.go (the table and
// the dispatch), help.go, node.go (the foreground node), run_node.go (the only file that knows package node), connect.go
// (finding the node), names.go (which apps are meant), change.go and wait.go (changing verbs), appflags.go, careflags.go and
// program.go (from words to an app), files.go, apply.go, plan.go and restoring.go (from files to apps), table.go, box.go and human.go (how it
// looks), unit.go (the service), pm2words.go (words that only say where to look), and one file per verb.
package main

// Command bench measures meshnode beside what stands in its place elsewhere: the process manager that most Node.js apps run under, PM2, and load
// balancers; the same apps, the same load, one run after the other in turn. "make bench" and "make bench-proxies" run it and write RESULTS.md;
// "make bench-restarts" and "make bench-logs" are the two long ones.
//
// Every run has a process of its own, and where it may be (as root), network and process namespaces of its own: its ports are free, and
// nothing outlives it. Every request is sent once and every answer is checked (package load). What is compared is package contender's, and package
// front's. Runs that measure latencies are scheduled before all else on the machine, where that is allowed (chrt).
//
// It is no test: figures of a machine that does something else are worth little. Nothing fails when a figure is bad; the tables say it.
//
// Concurrency: the program that was started runs one job at a time, each in a child process; a job drives one contender.
//
// Errors: a run that could not be made is an error, and ends the program. A contender that fails its users is a result.
//
// Read main.go (what is run), isolate.go (a job in its own namespaces), job.go (one job), scenario.go (events under load), timing.go (starts,
// reloads), cost.go (processor time, memory), restarts.go, logs.go, alone.go (an app that nobody runs), proxies.go (before
// which a load balancer stands), server.go (what stands behind it), wrk.go, forward.go (what passing on costs), skew.go (uneven servers and work), lost.go (servers
// and workers that die or stop), proxytables.go, report.go (RESULTS.md), tables.go, failures.go.
package main

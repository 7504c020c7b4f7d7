// Package output keeps what workers print: it reads their pipes, stores the lines in files that turn over and never fill the disk, reads
// them back, and passes them on as they come.
//
// A worker is never held up for its logs. A pipe is emptied in big gulps, and not watched between two of them, so that the worker does
// not wake this process with every line; where the disk is too slow or full, lines are dropped, counted, and spoken of in the file.
//
// A stored line is its time, one space and its text. The time is UTC and of fixed width: text order is time order. Every gulp has a time
// of its own, so that "before" and "after" mean the same to a reader of files and to a follower.
//
//	worker -> pipe -> reader -> blocks -> writer -> file -> keeper: compressed, counted, removed
//	                        \-> followers, each with a bounded buffer
//
// Why no library rotates the files: the cap counts all files of an app together, whoever writes them, and compression must leave the
// processors to the workers.
//
// Concurrency: each pipe is read by one goroutine, each file is written by one, and one keeps the finished files. What readers and
// writers share is guarded by the file's mutex, what the files of an app share by the app's. A mutex is held for memory and for renaming,
// opening and removing files, never for writing. The order is file, then app, then book.
//
// Errors: trouble with files is counted and logged, and stays here; reading back returns errors.
//
// Bounds: 48 MiB of lines wait for all disks, 16 MiB for one file; a follower keeps 1 MiB; a query returns 32 MiB at most, and four run at
// once.
//
// Read book.go (all), slot.go, policy.go, app.go (an app's files and their cap), run.go (a process's pipes), reader.go and poller.go (how they are
// read), split.go, sink.go (from a gulp to lines), block.go and file.go (from lines to a file), keeper.go (compression), custom.go
// and moment.go (files as PM2 writes them), tail.go, follow.go, query.go, back.go and archive.go (reading back), metrics.go.
package output

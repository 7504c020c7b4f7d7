// Package audit keeps lines in a file that is turned over: the node's record of who changed what.
//
// It knows nothing of what is in a line. It is not tamper-proof: whoever may write in the data folder may change it; who must not be able to
// has the lines shipped elsewhere. Lines are handed to the kernel before Append returns, and not synced: a crash of the process loses none, a
// power cut may lose the last ones.
//
// Concurrency: a Log is safe for concurrent use. Appends come one after the other; a reader sees whole lines only.
//
// Errors: Append returns why a line was not written; nothing of it is left in the file then. The next one tries anew.
package audit

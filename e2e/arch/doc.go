// Package arch tests the house: who may import whom, what is confined to which room, which rooms are pure, how large things may be, how
// they are named and documented, what logs look like, and what the module depends on.
//
// It holds tests only, and they read the source with the standard library; it builds and runs nothing of the house. A rule is changed by
// adding a row with a reason to its table, never by a bigger number.
//
// Concurrency: none; the tree is read once and then only looked at.
//
// Errors: a rule returns its violations as lines "file:line: what is wrong", and the test prints all of them.
//
// Read house_test.go (how the source is read), then imports_test.go, confine_test.go, purity_test.go, size_test.go, words_test.go,
// logs_test.go and modules_test.go (the rules), then planted_test.go, which proves that each rule finds what it is there for.
package arch

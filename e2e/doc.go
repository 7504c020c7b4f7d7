// Package e2e holds the promises to the operator, tested on real binaries: several hosts made of network namespaces, unmodified Node.js
// apps, real faults. It has no code of its own; lab is its test bed, arch tests the house, demo is the first thing a user runs.
//
// Each test names the promise in its name and its comment, and prints the figure that it measured.
package e2e

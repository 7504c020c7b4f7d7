// Package admit lets a server into a cluster whose key it does not have. The server that asks is the newcomer; the one it asks has a desk.
//
//	newcomer                                   desk
//	ask: H(rN), who it is, release       ->
//	                                     <-    nonce: rS
//	reveal: rN                           ->         both know the bound half of the code now: six letters of
//	                                     <-  waits  HMAC(binding, ask, rS, rN)
//	shows the code: bound half, own half
//	                                                somebody types it: meshnode admit <code>
//	                                     <-    proof: the own half
//	yes (or no)                          ->
//	                                     <-    key
//	kept                                 ->
//
// The two halves of the code say two things. The bound half says to the desk that it speaks with the very newcomer whose screen the code was read from:
// the binding is that of the TLS connection, so somebody in between has two connections and two codes, and because the newcomer commits to rN before it
// sees rS, and the desk chooses rS before it sees rN, nobody can look for values that make the two equal: one try in 2^30. The own half says to the
// newcomer that whoever sends a key has been given the code: it is random, and nobody is told but the reader of the screen. Without it anybody who
// answers in a server's place could hand the newcomer the key of a cluster of his own, and have it run what he likes: one try in 2^30, five in the life of a process.
//
// It opens no connection (package mux does, and binds it) and knows nothing of keys: what it hands over is a text. What is said on a stream of this
// package is worth nothing on another, because everything hangs on the binding.
//
// Concurrency: a Desk is safe for concurrent use. Serve blocks and waits for every goroutine it has started. Ask is one call in one
// goroutine.
//
// Errors: ErrUnknownCode, ErrMistyped, ErrWrongProof and Refusal are for callers to branch on.
//
// Bounds: 8 newcomers wait at a desk, 2 of one address, 10 minutes each; a message has at most 512 bytes, an exchange takes 5 s.
//
// Files in reading order: code.go (what people carry), message.go (what travels), newcomer.go, desk.go, places.go (its bounds), redeem.go and token.go (tokens), tries.go
// (a bound on guesses).
package admit

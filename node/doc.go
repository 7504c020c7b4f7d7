// Package node is the process: the only room that sees more than one pillar. It wires mesh (who is alive and how busy), balancer and its
// proxy (where a connection goes), store (what should run) and the supervisor (the workers), translates between them, and orders
// start and stop.
//
//	      clients                         peers, one port
//	         |                                  |
//	  balancer/proxy <--- forward streams --- mesh/mux --- raft streams ---> store
//	   |          \                             |                              |
//	claims      sockets                   gossip, load                  configuration
//	   |            \                           |                              |
//	balancer        supervisor <--- steps --- reconcile <----------------------+
//	   ^              workers
//	   +--- reports of peers ------------------ mesh
//
// It holds no rules of its own about balancing, voting or rollouts: those are in balancer, store/quorum and node/reconcile.
//
// Concurrency: Run blocks and owns every goroutine below it. Callbacks of the pillars only hand over.
//
// Errors: Run returns one error, in words for the operator, with the remedy where there is one.
//
// Read node.go (start and stop), identity.go and key.go (who this server is), founding.go, joining.go and names.go (how it becomes part of a cluster),
// asking.go, admission.go and tokens.go (how it does without the key), keyring.go and rotate.go (another key),
// routes.go and listeners.go (workers to the data path), reports.go (load), actuate.go (configuration to workers),
// rollout.go (a release over the nodes), then status.go, warnings.go, clocks.go, changes.go, releases.go, peers.go and logs.go (the control API), audits.go, operators.go
// and secrets.go (who may do what, what is kept of it, and what nobody reads), and rescue.go and recovery.go (lost servers). DESIGN.md has the why.
package node

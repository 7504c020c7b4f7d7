// Package sim runs clusters of 4 to 1,000 nodes by discrete events, with the shipped code of package balancer: each node has a Balancer of its own,
// picks and gives back as the data path does, and hears of the others by reports of a certain age. Beside it runs an oracle that joins the shortest
// queue of the whole cluster with perfect knowledge and no way to go, on the same arrivals and the same work.
//
// It is not the data path: a forward takes a constant time, and costs no CPU. Runs with the same seed are the same. What a policy knows of service
// times it has measured itself, on connections that end in the simulation.
//
// Concurrency: a run is for one goroutine; different runs have nothing in common.
//
// Read cell.go (what is run), events.go (what happens when), server.go (workers), world.go (one run), reports.go (who hears of whom), place.go (the shipped
// code), figures.go (what comes out).
package sim

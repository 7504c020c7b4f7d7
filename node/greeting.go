package node

import (
	"fmt"
	"os"
)

// greet tells the operator that the node runs, and how to add the next one.
func (n *Node) greet() {
	fmt.Fprintf(n.o.Out, "meshnode %s: node %s, peer port %s, data %s\n", n.o.Version, n.s.Node, n.who.addr, n.dir.path)
	switch {
	case n.who.founder:
		fmt.Fprintln(n.o.Out, "founded a new cluster; start the next server with:")
		fmt.Fprintf(n.o.Out, "  %s\n", n.nextServer())
		if !n.s.Insecure {
			fmt.Fprintln(n.o.Out, "without the key it shows a code, and is let in with: meshnode admit <code>")
		}
	case n.store.State().ID != "":
		fmt.Fprintln(n.o.Out, "rejoining its cluster")
	default:
		fmt.Fprintf(n.o.Out, "joining by %v\n", n.who.join)
	}
}

// nextServer is the command line for the next server. The key itself is shown on a terminal only: elsewhere it would stay in a log.
func (n *Node) nextServer() string {
	join := "meshnode -join " + n.who.addr
	switch f, ok := n.o.Out.(*os.File); {
	case n.s.Insecure:
		return join + " -insecure"
	case n.who.made && ok && isTerminal(f):
		return "MESHNODE_KEY=" + n.keyText() + " " + join
	case !n.who.made:
		return "MESHNODE_KEY=<the same key> " + join
	default:
		return "MESHNODE_KEY=<the text in " + n.dir.join(keyFile) + "> " + join
	}
}

func isTerminal(f *os.File) bool {
	fi, err := f.Stat()
	return err == nil && fi.Mode()&os.ModeCharDevice != 0
}

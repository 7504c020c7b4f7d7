package spec

import "testing"

func TestFor(t *testing.T) {
	old, now := valid(), valid()
	old.Release, old.Workers, old.Command = 3, 2, []string{"node", "old.js"}
	now.Release, now.Workers, now.Rollout = 4, 5, Rollout{Stable: 3, Nodes: []string{"h1"}}
	c := &Cluster{Apps: map[string]App{"web": now}, History: map[string][]Past{"web": {{App: old}}}}
	if got, ok := c.For(now, "h1"); !ok || got.Release != 4 {
		t.Errorf("the node whose turn it is runs %d, %v", got.Release, ok)
	}
	if got, ok := c.For(now, "h2"); !ok || got.Release != 3 || got.Workers != 5 || got.Command[1] != "old.js" {
		t.Errorf("the node that waits runs %+v, %v", got, ok)
	}
	c.History = nil
	if got, ok := c.For(now, "h2"); ok || got.Release != 4 {
		t.Errorf("without the old release: %d, %v", got.Release, ok)
	}
	now.Rollout = Rollout{}
	if got, ok := c.For(now, "h2"); !ok || got.Release != 4 {
		t.Errorf("after the rollout a node runs %d, %v", got.Release, ok)
	}
}

package mesh

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"
)

// Limits of what a node may say of itself, in bytes.
const (
	maxNodeName  = 128
	maxClusterID = 64
)

// metadata is what memberlist carries with a member: its static facts, as compact JSON of at most 512 bytes. Unknown fields are ignored, so
// that a later version may add some.
type metadata struct {
	ID      string            `json:"i"`
	Cluster string            `json:"c,omitempty"`
	Version string            `json:"v,omitempty"`
	Zone    string            `json:"z,omitempty"`
	Weight  float64           `json:"w,omitempty"`
	Tags    map[string]string `json:"t,omitempty"`
	Cores   int               `json:"n,omitempty"`
	Started int64             `json:"s"` // Unix milliseconds
}

// encodeMetadata returns m's metadata; it is ErrMetadataTooLarge if that is too long.
func encodeMetadata(m Member) ([]byte, error) {
	b, err := json.Marshal(metadata{
		ID: m.ID, Cluster: m.Cluster, Version: m.Version, Zone: m.Zone, Weight: m.Weight, Tags: m.Tags, Cores: m.Cores, Started: m.StartedAt.UnixMilli(),
	})
	if err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	if len(b) > memberlist.MetaMaxSize {
		return nil, ErrMetadataTooLarge
	}
	return b, nil
}

// memberOf translates a memberlist node; Status and Since are left to the roster.
func memberOf(n *memberlist.Node) (Member, error) {
	var d metadata
	if err := json.Unmarshal(n.Meta, &d); err != nil {
		return Member{}, fmt.Errorf("decode metadata of %s: %w", n.Name, err)
	}
	if d.ID == "" || n.Name == "" || len(n.Name) > maxNodeName || len(d.Cluster) > maxClusterID {
		return Member{}, fmt.Errorf("decode metadata of %s: no id, or a name or cluster that is too long", n.Name)
	}
	return Member{
		Name: n.Name, ID: d.ID, Addr: n.Address(), Cluster: d.Cluster, Version: d.Version, Zone: d.Zone, Weight: d.Weight,
		Tags: d.Tags, Cores: d.Cores, StartedAt: time.UnixMilli(d.Started),
	}, nil
}

package output

import (
	"path/filepath"
	"strconv"
	"strings"
)

// Defaults of a Policy.
const (
	DefaultFileBytes = 50 << 20
	DefaultKeep      = 9
	DefaultCapBytes  = 1 << 30
)

// Bounds that a policy cannot leave.
const (
	minFileBytes = 64 << 10
	minCapBytes  = 256 << 10
)

// Policy says how an app's output is kept. The zero value is the default.
type Policy struct {
	Merge     bool  // Merge has one file per stream for all workers of the app.
	FileBytes int64 // FileBytes is the size at which a file turns over; 0 = DefaultFileBytes.
	Keep      int   // Keep is how many older files are kept beside each; 0 = DefaultKeep, negative = none.
	CapBytes  int64 // CapBytes bounds all files of the app together, those being written and the custom ones too; 0 = DefaultCapBytes. The disk may set a lower one.
	Disabled  bool  // Disabled stores nothing. Lines can still be followed.
	Custom    Custom
}

// Custom are files in which the app's lines stand as they were printed, as PM2 keeps them: beside the stored ones. "", "NULL" and
// "/dev/null" mean none.
type Custom struct {
	Out      string // Out is where standard output goes.
	Err      string // Err is where standard error goes.
	Combined string // Combined is where both go.
	Dates    string // Dates is a format as PM2's log_date_format has it; "" = no date.
	JSON     bool   // JSON writes each line as an object.
}

func (p Policy) filled() Policy {
	if p.FileBytes <= 0 {
		p.FileBytes = DefaultFileBytes
	}
	if p.Keep == 0 {
		p.Keep = DefaultKeep
	}
	if p.CapBytes <= 0 {
		p.CapBytes = DefaultCapBytes
	}
	p.Keep, p.FileBytes, p.CapBytes = max(p.Keep, 0), max(p.FileBytes, minFileBytes), max(p.CapBytes, minCapBytes)
	return p
}

// paths are the custom files of one stream of one worker.
func (p Policy) paths(slot int, stream string) []string {
	own := p.Custom.Out
	if stream == StreamErr {
		own = p.Custom.Err
	}
	var out []string
	for _, path := range []string{own, p.Custom.Combined} {
		if path == "" || path == "NULL" || path == "/dev/null" {
			continue
		}
		if !p.Merge {
			end := filepath.Ext(path)
			path = strings.TrimSuffix(path, end) + "-" + strconv.Itoa(slot) + end
		}
		if len(out) == 0 || out[0] != path {
			out = append(out, path)
		}
	}
	if len(out) == 2 && out[0] > out[1] { // whoever locks several files does so in this order
		out[0], out[1] = out[1], out[0]
	}
	return out
}

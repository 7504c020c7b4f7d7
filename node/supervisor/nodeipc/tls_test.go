package nodeipc

import (
	"encoding/json"
	"syscall"
	"testing"
)

// A TLS server reads its ticket keys out of every reply, also out of one that is an error: without them it dies of a TypeError
// instead of telling the app what went wrong.
func TestNodeTLSServerSurvivesAnError(t *testing.T) {
	w := startNode(t, `
		process.on('uncaughtException', (e) => process.send('dies of ' + e.message));
		const https = require('https');
		https.createServer().listen(3000, () => https.createServer().on('error', (e) => process.send(e.code)).listen(3000));`)
	if got := w.message(); got != "EADDRINUSE" {
		t.Errorf("the app says %q", got)
	}
}

func TestDataIsNeverLost(t *testing.T) {
	for what, r := range map[string]Reply{
		"beside an error":                     {Errno: -int(syscall.EACCES)},
		"after a plain server on the address": {Port: 443, Data: json.RawMessage("null")},
	} {
		_, p, _ := connect(t, newRecorder(func(Query) Reply { return r }))
		got, err := json.Marshal(p.query("1", `"address":null,"port":443,"addressType":4`)["data"])
		if err != nil || string(got) != `{"k":[1,2]}` {
			t.Errorf("data %s: %s %v", what, got, err)
		}
	}
}

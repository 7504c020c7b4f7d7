package supervisor

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestNodeWorker(t *testing.T) {
	b := newBench(t)
	// Nothing but closing its server at the signal: the channel would hold such a worker for ever.
	b.start(b.node(1, `
		const s = require('http').createServer().listen(3000);
		process.on('SIGTERM', () => { console.log('told to end'); s.close(() => console.log('closed')); });`), StartFirst)
	st := b.ready(1)
	if st.Mode != ModeCluster {
		t.Errorf("status %+v", st)
	}
	b.sup.Stop("app", 0)
	b.stopped()
	if out := b.lines(); out != "told to end\nclosed" {
		t.Errorf("the worker wrote %q", out)
	}
	if b.counted(metricKilled) != 0 {
		t.Error("the worker had to be killed")
	}
}

func TestNodeWaitReady(t *testing.T) {
	b := newBench(t)
	f := b.sup.Follow("app")
	defer f.Close()
	s := b.node(1, `
		require('net').createServer().listen(3000, () => console.log('listening'));
		process.on('SIGUSR2', () => process.send('ready'));`)
	s.WaitReady = true
	b.start(s, StartFirst)
	line(t, f, "listening")
	st := b.until("start", func(s Status) bool { return s.PID > 0 })
	if st.State != StateStarting || b.r.has("route app/0#1") {
		t.Errorf("ready before it said so: %+v", st)
	}
	if err := syscall.Kill(st.PID, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	b.ready(1)
}

// READY=1 counts for a Node worker too.
func TestNodeNotifySocket(t *testing.T) {
	b := newBench(t)
	s := b.node(1, `
		process.env.SUPERVISOR_TEST_HELPER = 'ready';
		require('child_process').spawn(process.env.HELPER, { stdio: 'inherit' });
		setInterval(() => {}, 1000);`)
	s.WaitReady = true
	b.start(s, StartFirst)
	b.ready(1)
}

// A worker that lets go of its channel gets no connection any more, and is ended if it does not end by itself.
func TestNodeDisconnectsByItself(t *testing.T) {
	b := newBench(t)
	s := b.node(1, `
		require('net').createServer().listen(3000);
		process.on('SIGUSR2', () => { require('cluster').worker.disconnect(); setInterval(() => {}, 1000); });`)
	s.Times.Drain, s.Times.Kill = 300*time.Millisecond, 0
	b.start(s, StartFirst)
	st := b.ready(1)
	if err := syscall.Kill(st.PID, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	b.eventually("out of the routing", func() bool { return b.r.has("unroute app/0#1") })
	if b.r.has("ended app/0#1") {
		t.Error("it is taken out while it lives")
	}
	again := b.until("restart", func(s Status) bool { return s.State == StateReady && s.Restarts == 1 })
	if !strings.Contains(again.LastExit, "signal 9") {
		t.Errorf("status %+v", again)
	}
}

func TestNodeStartFirst(t *testing.T) {
	b := newBench(t)
	script := `require('http').createServer().listen(3000);`
	b.start(b.node(1, script), StartFirst)
	b.ready(1)
	b.start(b.node(2, `throw new Error('boom');`), StartFirst)
	st := b.until("refusal", func(s Status) bool { return s.Refused == 2 })
	if st.State != StateReady || st.Release != 1 || !strings.Contains(Headline(st.Tail), "boom") {
		t.Errorf("status %+v", st)
	}
	b.start(b.node(3, script), StartFirst)
	b.ready(3)
	b.eventually("end of the old worker", func() bool { return b.r.has("ended app/0#1") })
}

// Without wait_ready the word of a worker counts for nothing: it would be given connections before it listens.
func TestNodeSaysReadyUnasked(t *testing.T) {
	b := newBench(t)
	f := b.sup.Follow("app")
	defer f.Close()
	b.start(b.node(1, `
		process.send('ready', () => console.log('said so'));
		process.on('SIGUSR2', () => require('net').createServer().listen(3000));`), StartFirst)
	line(t, f, "said so")
	st := b.until("start", func(s Status) bool { return s.PID > 0 })
	if err := syscall.Kill(st.PID, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	b.ready(1)
	if got := b.r.said(); len(got) < 2 || got[0] != "listen app/0#1" || got[1] != "route app/0#1" {
		t.Errorf("router: %v", got)
	}
}

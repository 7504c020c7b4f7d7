package supervisor

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func TestEvaluate(t *testing.T) {
	sh := func(script string) Evaluation {
		return Evaluation{Command: []string{"/bin/sh", "-c", script}, Dir: t.TempDir(), Env: os.Environ(), Time: 10 * time.Second, Size: 1000}
	}
	e := sh("cat; echo out; echo err >&2; echo result >&3; exit 3")
	e.Input = strings.NewReader("in\n")
	a, err := Evaluate(t.Context(), e)
	if err != nil || a.Code != 3 || string(a.Out) != "in\nout\n" || string(a.Err) != "err\n" || string(a.Result) != "result\n" {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := Evaluate(t.Context(), Evaluation{Command: []string{"/no/such"}, Time: time.Second, Size: 1}); err == nil {
		t.Error("no such program, and no error")
	}
	for name, e := range map[string]Evaluation{
		"output": sh("while :; do echo 0123456789; done"), "errors": sh("while :; do echo 0123456789 >&2; done"),
		"result": sh("while :; do echo 0123456789 >&3; done"),
	} {
		if _, err := Evaluate(t.Context(), e); !errors.Is(err, ErrEvaluation) || !strings.Contains(err.Error(), "more than 1000 bytes") {
			t.Errorf("%s: %v", name, err)
		}
	}
	slow := sh("sleep 60 & sleep 60")
	slow.Time = 50 * time.Millisecond
	if _, err := Evaluate(t.Context(), slow); !errors.Is(err, ErrEvaluation) || !strings.Contains(err.Error(), "does not end within 50ms") {
		t.Errorf("slow: %v", err)
	}
	if a, err := Evaluate(t.Context(), sh("sleep 60 & echo done >&3")); err != nil || string(a.Result) != "done\n" {
		t.Errorf("left behind: %+v, %v", a, err)
	}
}

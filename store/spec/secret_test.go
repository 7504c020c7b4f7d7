package spec

import (
	"strings"
	"testing"
)

func TestSecretVariables(t *testing.T) {
	a := App{Name: "api", Command: []string{"x"}, Dir: "/", Env: map[string]string{"A": "b"}}
	if !a.Sealed() || a.Masked().Process.SecretEnv != nil || a.Viewed().Env["A"] != Unseen || a.Env["A"] != "b" {
		t.Errorf("an app without secrets: %+v", a)
	}
	a.Process.SecretEnv = map[string]string{"TOKEN": "s3cret"}
	clone := a.Clone()
	clone.Process.SecretEnv["TOKEN"] = "other"
	if a.Sealed() || a.Process.SecretEnv["TOKEN"] != "s3cret" || a.SameProcess(clone) || a.Masked().Process.SecretEnv["TOKEN"] != Masked {
		t.Errorf("%+v, its copy %+v", a.Process, clone.Process)
	}
	clone.Process.SecretEnv["TOKEN"] = SealedPrefix + "v1:x"
	if !clone.Sealed() {
		t.Error("a sealed value is not taken for one")
	}
	if err := a.WithDefaults().Validate(); err != nil {
		t.Error(err)
	}
	for name, secrets := range map[string]map[string]string{
		"secret_env: A stands in env too": {"A": "x"}, `"" cannot be the name`: {"": "x"}, `"B=" cannot be the name`: {"B=": "x"},
		"the value of B holds a zero byte": {"B": "s3cret\x00"},
	} {
		bad := a.WithDefaults()
		bad.Process.SecretEnv = secrets
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

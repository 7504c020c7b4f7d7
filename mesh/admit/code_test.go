package admit

import (
	"strings"
	"testing"
	"time"
)

func TestParseCode(t *testing.T) {
	for _, text := range []string{"ABCD-EFGH-JKLM", "abcdefghjklm", " a-b-c-d-e f g h j k l m "} {
		c, err := ParseCode(text)
		if err != nil || c.String() != "ABCD-EFGH-JKLM" || c.bound != "ABCDEF" || c.own != "GHJKLM" {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
	for _, text := range []string{"", "ABCD-EFGH-JKL", "ABCD-EFGH-JKLMN", "ABCD-EFGH-JKL1", "ABCD-EFGH-JKLO", "ABCD-EFGH-JKL\n", "ABCD-EFGH-JKÄ"} {
		if c, err := ParseCode(text); err == nil {
			t.Errorf("%q is read as %v", text, c)
		}
	}
}

func TestAlphabet(t *testing.T) {
	if len(alphabet) != 32 || strings.ContainsAny(alphabet, "01IO") {
		t.Error(alphabet)
	}
	for i, c := range alphabet {
		if strings.IndexRune(alphabet, c) != i {
			t.Errorf("%c stands in it twice", c)
		}
	}
	if got := letters([]byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 0}, 6); got != "ZZZZY2" {
		t.Error(got)
	}
}

// TestBoundHalf changes each thing that the half hangs on.
func TestBoundHalf(t *testing.T) {
	base := [4]string{"binding", "ask", "desk", "newcomer"}
	half := func(v [4]string) string { return boundHalf([]byte(v[0]), []byte(v[1]), []byte(v[2]), []byte(v[3])) }
	if half(base) != half(base) || len(half(base)) != boundLetters {
		t.Error("it is not fixed")
	}
	for i := range base {
		other := base
		other[i] += "!"
		if half(other) == half(base) {
			t.Errorf("%s: the same", base[i])
		}
	}
}

func TestTries(t *testing.T) {
	var tries Tries
	now := time.Unix(1000, 0)
	for range maxTries {
		if !tries.Allowed(now) {
			t.Fatal("refused too early")
		}
		tries.Wrong(now)
		now = now.Add(time.Second)
	}
	if tries.Allowed(now) || tries.Allowed(now.Add(triesPause-2*time.Second)) || !tries.Allowed(now.Add(triesPause)) {
		t.Error("after five wrong ones within a minute there is a pause of a minute")
	}
	var slow Tries
	for range 20 * maxTries {
		slow.Wrong(now)
		now = now.Add(triesWindow / (maxTries - 1))
		if !slow.Allowed(now) || len(slow.wrong) > maxTries {
			t.Fatal("slow mistakes are refused, or remembered without end")
		}
	}
}

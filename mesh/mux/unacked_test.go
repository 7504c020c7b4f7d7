package mux

import "testing"

// What was sent is confirmed though nobody reads it; what cannot be taken in any more is not.
func TestUnacked(t *testing.T) {
	modes(t, func(t *testing.T, key *Key) {
		a, b := open(t, key, "a"), open(t, key, "b")
		defer b.Listen(Load).Close()
		c := dial(t, a, Load, b)
		unacked := func() int {
			n, err := c.(interface{ Unacked() (int, error) }).Unacked()
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		if _, err := c.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return unacked() == 0 })
		go func() {
			buf := make([]byte, 1<<20)
			for { // until the test closes c
				if _, err := c.Write(buf); err != nil {
					return
				}
			}
		}()
		waitFor(t, func() bool { return unacked() > 1<<16 })
	})
}

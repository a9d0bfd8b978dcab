//go:build linux || darwin || freebsd

package poller

import (
	"testing"

	"golang.org/x/sys/unix"
)

// pollView opens a set in which n descriptors are readable, with their numbers as tags.
func pollView(t *testing.T, n int) (*poll, []int) {
	opened, err := NewPoll(WakerNone)
	if err != nil {
		t.Fatal(err)
	}
	p := opened.(*poll)
	var fds []int
	for range n {
		w, err := newSocketpair()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.close() })
		if err := w.wake(); err != nil {
			t.Fatal(err)
		}
		if err := p.Add(w.fd(), Read, uint64(w.fd())); err != nil {
			t.Fatal(err)
		}
		fds = append(fds, w.fd())
	}
	return p, fds
}

func TestPollDropsReportsOfChangedRegistrations(t *testing.T) {
	p, fds := pollView(t, 4)
	p.refresh()
	found, err := unix.Poll(p.view, 0)
	if err != nil || found != 4 {
		t.Fatalf("poll: %d, %v", found, err)
	}
	for _, err := range []error{p.Remove(fds[0]), p.Modify(fds[1], Read, 1), p.Remove(fds[2]), p.Add(fds[2], Read, 2)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var ready [4]Ready
	if n := p.collect(ready[:], found); n != 1 || ready[0].Tag != uint64(fds[3]) {
		t.Errorf("got %v, want the report of the descriptor that was left alone", ready[:n])
	}
}

func TestPollCopiesItsSetOnlyWhenItChanged(t *testing.T) {
	p, fds := pollView(t, 1)
	p.refresh()
	p.view[0].Revents = 77
	p.refresh()
	if p.view[0].Revents != 77 {
		t.Error("the set was copied although nothing had changed")
	}
	if err := p.Modify(fds[0], 0, 1); err != nil {
		t.Fatal(err)
	}
	p.refresh()
	if p.view[0].Revents == 77 {
		t.Error("the set was not copied although it had changed")
	}
}

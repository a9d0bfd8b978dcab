//go:build linux || darwin || freebsd

package poller_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/poller"
	"github.com/evmq/evmq/internal/poller/pollertest"
)

func TestPoll(t *testing.T) { pollertest.Run(t, poller.NewPoll) }

// The contract allows a backend to report nothing for a descriptor that was closed before Remove; poll(2) reports it.
func TestPollReportsAClosedDescriptor(t *testing.T) {
	p, err := poller.NewPoll(poller.WakerNone)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[1])
	behind, err := unix.FcntlInt(uintptr(pipe[0]), unix.F_DUPFD_CLOEXEC, 600) // above the numbers that other code opens
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(pipe[0])
	if err := p.Add(behind, poller.Read, 5); err != nil {
		t.Fatal(err)
	}
	unix.Close(behind)
	ready := make([]poller.Ready, 4)
	for range 2 {
		n, err := p.Wait(ready, -1)
		if want := (poller.Ready{Tag: 5, What: poller.Invalid}); n != 1 || err != nil || ready[0] != want {
			t.Fatalf("Wait after close: %x, %v, want %x", ready[:n], err, want)
		}
	}
}

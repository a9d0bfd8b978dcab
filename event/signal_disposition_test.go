package event_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// signalChildren are run in a process of their own; each prints what it has reached and then raises its signal.
var signalChildren = map[string]struct {
	sig  syscall.Signal
	kept bool // whether the process outlives the signal
	do   func(t *testing.T, l *event.Loop)
}{
	"last Del": {syscall.SIGTERM, false, func(t *testing.T, l *event.Loop) {
		a := newSignal(t, l, syscall.SIGTERM, func(e *event.Event, _ event.Flags) { testkit.Must(t, e.Del()) })
		raise(t, syscall.SIGTERM)
		testkit.Run(t, l)
		testkit.Must(t, a.Del())
	}},
	"one-shot": {syscall.SIGTERM, false, func(t *testing.T, l *event.Loop) {
		e, err := l.NewEvent(int(syscall.SIGTERM), event.Signal, func(*event.Event, event.Flags) {})
		testkit.Must(t, err)
		testkit.Must(t, e.Add(event.NoTimeout))
		raise(t, syscall.SIGTERM)
		testkit.Run(t, l)
	}},
	"timeout of a one-shot": {syscall.SIGTERM, false, func(t *testing.T, l *event.Loop) {
		e, err := l.NewEvent(int(syscall.SIGTERM), event.Signal, func(*event.Event, event.Flags) {})
		testkit.Must(t, err)
		testkit.Must(t, e.Add(time.Microsecond))
		testkit.Run(t, l)
	}},
	"Finalize": {syscall.SIGTERM, false, func(t *testing.T, l *event.Loop) {
		testkit.Must(t, newSignal(t, l, syscall.SIGTERM, func(*event.Event, event.Flags) {}).Finalize(func(*event.Event) {}))
	}},
	"Close": {syscall.SIGTERM, false, func(t *testing.T, l *event.Loop) {
		newSignal(t, l, syscall.SIGTERM, func(*event.Event, event.Flags) {})
		testkit.Must(t, l.Close())
	}},
	"another event left": {syscall.SIGTERM, true, func(t *testing.T, l *event.Loop) {
		newSignal(t, l, syscall.SIGTERM, func(*event.Event, event.Flags) {})
		testkit.Must(t, newSignal(t, l, syscall.SIGTERM, func(*event.Event, event.Flags) {}).Del())
	}},
	"another loop left": {syscall.SIGTERM, true, func(t *testing.T, l *event.Loop) {
		newSignal(t, testkit.NewLoop(t, nil), syscall.SIGTERM, func(*event.Event, event.Flags) {})
		testkit.Must(t, newSignal(t, l, syscall.SIGTERM, func(*event.Event, event.Flags) {}).Del())
	}},
	"ignored since exec": {syscall.SIGHUP, true, func(t *testing.T, l *event.Loop) {
		testkit.Must(t, newSignal(t, l, syscall.SIGHUP, func(*event.Event, event.Flags) {}).Del())
	}},
	"SIGTERM ignored by the program": {syscall.SIGTERM, true, func(t *testing.T, l *event.Loop) {
		signal.Ignore(syscall.SIGTERM)
		told := 0
		e := newSignal(t, l, syscall.SIGTERM, func(*event.Event, event.Flags) { told++ })
		testkit.Must(t, syscall.Kill(os.Getpid(), syscall.SIGTERM))
		testkit.Until(t, "call", func() bool { oneTurn(t, l); return told == 1 })
		testkit.Must(t, e.Del())
	}},
	"ignored, and two loops": {syscall.SIGTERM, true, func(t *testing.T, l *event.Loop) {
		signal.Ignore(syscall.SIGTERM)
		other, told := testkit.NewLoop(t, nil), 0
		a := newSignal(t, other, syscall.SIGTERM, func(*event.Event, event.Flags) {})
		b := newSignal(t, l, syscall.SIGTERM, func(*event.Event, event.Flags) { told++ })
		testkit.Must(t, a.Del())
		testkit.Must(t, syscall.Kill(os.Getpid(), syscall.SIGTERM)) // the loop that is left is told
		testkit.Until(t, "call", func() bool { oneTurn(t, l); return told == 1 })
		testkit.Must(t, b.Del())
	}},
	"ignored, added again and again": {syscall.SIGTERM, true, func(t *testing.T, l *event.Loop) {
		signal.Ignore(syscall.SIGTERM)
		e := newSignal(t, l, syscall.SIGTERM, func(*event.Event, event.Flags) {})
		for range 3 {
			testkit.Must(t, e.Del())
			testkit.Must(t, e.Add(event.NoTimeout))
		}
		testkit.Must(t, l.Close())
	}},
	"told under nohup": {syscall.SIGHUP, true, func(t *testing.T, l *event.Loop) {
		told := 0
		e := newSignal(t, l, syscall.SIGHUP, func(*event.Event, event.Flags) { told++ })
		testkit.Must(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
		testkit.Until(t, "call", func() bool { oneTurn(t, l); return told == 1 })
		testkit.Must(t, e.Del())
	}},
	"SIGINT ignored by the program": {syscall.SIGINT, true, func(t *testing.T, l *event.Loop) {
		signal.Ignore(syscall.SIGINT)
		testkit.Must(t, newSignal(t, l, syscall.SIGINT, func(*event.Event, event.Flags) {}).Del())
	}},
}

// After the last Del in the program a signal does what it did before, and not earlier.
func TestSignalDispositionIsRestored(t *testing.T) {
	if name := os.Getenv("EVMQ_TEST_SIGNAL_CHILD"); name != "" {
		c := signalChildren[name]
		c.do(t, testkit.NewLoop(t, nil))
		fmt.Println("raising")
		testkit.Must(t, syscall.Kill(os.Getpid(), c.sig))
		if c.kept {
			time.Sleep(100 * time.Millisecond) // for a signal that ends the process although it must not, on another thread
		} else {
			time.Sleep(testkit.Patience) // until the signal ends the process
		}
		os.Exit(7)
	}
	for name, c := range signalChildren {
		t.Run(name, func(t *testing.T) {
			child := exec.Command("/bin/sh", "-c", `trap "" HUP; exec "$0" -test.run='^TestSignalDispositionIsRestored$'`, os.Args[0])
			child.Env = append(os.Environ(), "EVMQ_TEST_SIGNAL_CHILD="+name)
			out, err := child.CombinedOutput()
			status, _ := child.ProcessState.Sys().(syscall.WaitStatus)
			died := status.Signaled() && status.Signal() == c.sig
			if kept := status.Exited() && status.ExitStatus() == 7; kept != c.kept || died == c.kept {
				t.Fatalf("outlived the signal: %v, want %v (%v)\n%s", kept, c.kept, err, out)
			}
		})
	}
}

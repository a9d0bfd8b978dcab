package event_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// computeChild makes the test's binary run a loop whose callbacks start goroutines that compute; its value is GOMAXPROCS.
const computeChild = "EVMQ_COMPUTE_CHILD"

// wakingFD is the first descriptor that exec.Cmd.ExtraFiles passes.
const wakingFD = 3

func init() {
	if procs := os.Getenv(computeChild); procs != "" {
		n, err := strconv.Atoi(procs)
		if err == nil {
			err = computeWhenAsked(n)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// computeWhenAsked serves requests of one byte, which come through the standard input, on a loop: an echo; or goroutines that compute, one for
// each processor, until a later request ends them. A byte that comes through the descriptor wakingFD makes one of the program's own goroutines
// compute, which reports that it has begun.
func computeWhenAsked(procs int) error {
	runtime.GOMAXPROCS(procs)
	l, err := event.NewLoop(nil)
	if err != nil {
		return err
	}
	second, err := event.NewLoop(nil) // a second loop that is always parked
	if err != nil {
		return err
	}
	go func() { _ = second.RunForever(context.Background()) }()
	if err := syscall.SetNonblock(0, true); err != nil {
		return err
	}
	if err := computeWhenRead(procs); err != nil {
		return err
	}
	waiting := make(chan uint32)
	for range procs {
		go func() {
			for number := range waiting {
				compute(number)
			}
		}()
	}
	input, err := l.NewEvent(0, event.Read|event.Persist, func(e *event.Event, _ event.Flags) {
		var request [1]byte
		if raw(syscall.SYS_READ, 0, &request[0]) != 1 {
			_ = l.Break()
			return
		}
		if request[0] == 'e' {
			raw(syscall.SYS_WRITE, 1, &request[0])
			return
		}
		number := latest.Add(1)
		for range procs {
			switch request[0] {
			case 'c': // goroutines that wait for a channel
				waiting <- number
			case 'g': // new goroutines
				go compute(number)
			case 't': // goroutines of timers
				time.AfterFunc(0, func() { compute(number) })
			}
		}
		raw(syscall.SYS_WRITE, 1, &request[0])
	})
	if err == nil {
		err = input.Add(event.NoTimeout)
	}
	if err == nil {
		err = l.RunForever(context.Background())
	}
	return err
}

// latest is the number of the latest request that starts or ends goroutines.
var latest atomic.Uint32

func compute(number uint32) {
	for latest.Load() == number { // has no call, so only the monitor can interrupt it
	}
}

// computeWhenRead starts the goroutines that wait for a byte from wakingFD.
func computeWhenRead(goroutines int) error {
	if err := syscall.SetNonblock(wakingFD, true); err != nil {
		return err
	}
	waking := os.NewFile(wakingFD, "waking")
	for range goroutines {
		go func() {
			for b := []byte{0}; ; {
				if _, err := waking.Read(b); err != nil {
					return
				}
				number := latest.Load()
				raw(syscall.SYS_WRITE, 1, &b[0])
				compute(number)
			}
		}()
	}
	return nil
}

// raw makes a system call for one byte that the scheduler does not take part in, as a server does. Another one would wake the monitor.
func raw(call, fd uintptr, b *byte) uintptr {
	n, _, _ := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(b)), 1)
	return n
}

// TestGoroutinesThatComputeDoNotStopALoop: a callback of a parked loop starts goroutines, or input wakes them, after the process was idle. The
// loop is called again, however long it has slept before, and in whatever way. The goroutines compute until then, so a loop that is not called
// makes the test fail by its time limit.
func TestGoroutinesThatComputeDoNotStopALoop(t *testing.T) {
	pauses, sleeps := []time.Duration{0, 4 * time.Millisecond, 11 * time.Millisecond}, []int{0, 2}
	if testkit.Full() {
		pauses = append(pauses, time.Millisecond, 9*time.Millisecond, 30*time.Millisecond, 200*time.Millisecond, time.Second)
		sleeps = []int{0, 1, 2, 3}
	}
	for _, procs := range []int{1, 2, 4} {
		t.Run(fmt.Sprintf("GOMAXPROCS=%d", procs), func(t *testing.T) {
			t.Parallel()
			ask := startComputing(t, procs)
			for _, pause := range pauses {
				for _, how := range []byte("cgtr") {
					for _, sleepsBefore := range sleeps {
						for range sleepsBefore {
							time.Sleep(pause)
							ask('e')
						}
						time.Sleep(pause)
						ask(how)
						ask('e')
						ask('s')
					}
				}
			}
		})
	}
}

// computeLimit is the time limit for an answer.
const computeLimit = 30 * time.Second

// startComputing starts a process that runs computeWhenAsked, and returns a function that makes a request and waits for the answer.
func startComputing(t *testing.T, procs int) (ask func(byte)) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), computeChild+"="+strconv.Itoa(procs))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	testkit.Must(t, err)
	out, err := cmd.StdoutPipe()
	testkit.Must(t, err)
	wakingIn, waking, err := os.Pipe()
	testkit.Must(t, err)
	cmd.ExtraFiles = []*os.File{wakingIn}
	testkit.Must(t, cmd.Start())
	testkit.Must(t, wakingIn.Close())
	t.Cleanup(func() {
		testkit.Must(t, errors.Join(in.Close(), waking.Close()))
		timer := time.AfterFunc(computeLimit, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		testkit.Must(t, cmd.Wait())
	})
	return func(request byte) {
		t.Helper()
		to, answers := in, make([]byte, 1)
		if request == 'r' { // goroutines that read
			to, answers = waking, make([]byte, procs)
		}
		_, err := to.Write(bytes.Repeat([]byte{request}, len(answers)))
		testkit.Must(t, err)
		testkit.Must(t, out.(*os.File).SetReadDeadline(time.Now().Add(computeLimit)))
		if _, err := io.ReadFull(out, answers); err != nil {
			_ = cmd.Process.Kill()
			t.Fatal(errors.Join(err, fmt.Errorf("the answer to %q", request)))
		}
	}
}

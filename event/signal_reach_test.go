package event_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

// Each signal that NewSignal accepts is delivered, and each that it refuses cannot be delivered to a program. Each is sent to a
// process of its own.
func TestEverySignalIsDeliveredOrRefused(t *testing.T) {
	const told, refused = 7, 8
	if n, err := strconv.Atoi(os.Getenv("EVMQ_TEST_SIGNAL")); err == nil {
		l := testkit.NewLoop(t, nil)
		e, err := l.NewSignal(syscall.Signal(n), func(e *event.Event, _ event.Flags) { os.Exit(told) })
		if err != nil {
			testkit.WantErr(t, err, event.ErrInvalid)
			os.Exit(refused)
		}
		testkit.Must(t, e.Add(event.NoTimeout))
		testkit.Must(t, syscall.Kill(os.Getpid(), syscall.Signal(n)))
		testkit.Run(t, l)
		t.Fatal("Run ended")
	}
	mayRefuse := map[syscall.Signal]bool{syscall.SIGKILL: true, syscall.SIGSTOP: true, syscall.SIGPROF: true, 32: true, 33: true, 34: true}
	var children sync.WaitGroup
	slots := make(chan struct{}, 4)
	for n := range 70 {
		children.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			child := exec.Command(os.Args[0], "-test.run=^TestEverySignalIsDeliveredOrRefused$")
			child.Env = append(os.Environ(), fmt.Sprint("EVMQ_TEST_SIGNAL=", n))
			out, _ := child.CombinedOutput()
			switch code := child.ProcessState.ExitCode(); {
			case code == refused && (n == 0 || n > maxCaught || mayRefuse[syscall.Signal(n)]):
			case code != told:
				t.Errorf("signal %d: the process ended with %v\n%s", n, child.ProcessState, out)
			}
		})
	}
	children.Wait()
}

package server_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/internal/tick"
	"github.com/evmq/evmq/server"
)

// stoppedChild makes the test's process the one that is stopped.
const stoppedChild = "EVMQ_TEST_STOPPED"

// countTicks is a tick.Watcher that counts the ticks of the process.
type countTicks struct{ n, late atomic.Int64 }

func (c *countTicks) Tick(late bool) bool {
	if late {
		c.late.Add(1)
	}
	c.n.Add(1)
	return false
}

func (c *countTicks) IsBusy() bool { return false }

// await waits, without a sleep, until there are n ticks.
func (c *countTicks) await(n int64) {
	for c.n.Load() < n {
	}
}

// A handler whose process is stopped for a time between two ticks has not stalled the loop. The test runs itself again in another process, in
// which a handler waits for a tick, stops the process, and waits for the next tick, which is late.
func TestAHandlerOfAStoppedProcessHasNotStalled(t *testing.T) {
	t.Parallel()
	needsLeaders(t)
	if os.Getenv(stoppedChild) != "" {
		stopInHandlers(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAHandlerOfAStoppedProcessHasNotStalled$")
	cmd.Env = append(os.Environ(), stoppedChild+"=1")
	out, err := cmd.StdoutPipe()
	testkit.Must(t, err)
	testkit.Must(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill() // it has ended, unless the test has failed
		_ = cmd.Wait()
	}()
	output := make(chan string, 1)
	go func() {
		all, _ := io.ReadAll(out)
		output <- string(all)
	}()
	var all string
	testkit.Until(t, "the end of the process", func() bool {
		if isStopped(cmd.Process.Pid) {
			time.Sleep(150 * time.Millisecond) // the pause, which is longer than a tick may be late
			testkit.Must(t, cmd.Process.Signal(syscall.SIGCONT))
		}
		select {
		case all = <-output:
			return true
		default:
			return false
		}
	})
	if !strings.Contains(all, "rounds: 3, stalls: 0\n") {
		t.Errorf("the process says:\n%s", all)
	}
}

// isStopped reports whether a process is stopped.
func isStopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := bytes.Cut(stat, []byte(") "))
	return len(after) > 0 && after[0] == 'T'
}

// stopInHandlers is the other process. It makes three rounds; on a busy machine that takes many tries. A round proves nothing if there was
// another tick before the stop, or the tick before it ended afterwards, so that the next one is not late.
func stopInHandlers(t *testing.T) {
	var ticks countTicks
	tick.Process.Watch(&ticks)
	defer tick.Process.Unwatch(&ticks)
	valid := make(chan bool, 1)
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: placed(server.OnLoop, func(_ server.Reply, line string) string {
		begun, late := ticks.n.Load(), ticks.late.Load()
		ticks.await(begun + 1)
		err := syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		stopped := ticks.n.Load()
		ticks.await(begun + 2)
		for begin := time.Now(); time.Since(begin) < 500*time.Microsecond; { // the tick takes the loop, if it does
		}
		valid <- err == nil && stopped == begun+1 && ticks.n.Load() == begun+2 && ticks.late.Load() == late+1
		return line
	})})
	nc := s.dial(t)
	answers := bufio.NewScanner(nc)
	rounds, stalls := 0, uint64(0)
	for rounds < 3 {
		before := s.routes().Stalls
		send(t, nc, "stop\n")
		if !answers.Scan() {
			t.Fatal(answers.Err())
		}
		if testkit.Await(t, valid, "the handler") {
			rounds++
			stalls += s.routes().Stalls - before
		}
	}
	fmt.Printf("rounds: %d, stalls: %d\n", rounds, stalls)
	hangUp(nc)
	s.shutdown(t)
}

package server_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/internal/tick"
	"github.com/evmq/evmq/server"
)

// stoppedChild makes the test's process the one that is stopped.
const stoppedChild = "EVMQ_TEST_STOPPED"

// A tickLog is a tick.Watcher that records the ticks of the process.
type tickLog struct {
	changed chan struct{} // receives a value at each tick, unless it has one

	mu   sync.Mutex
	late []bool // for each tick, whether it was late
}

func (l *tickLog) Tick(late bool) bool {
	l.mu.Lock()
	l.late = append(l.late, late)
	l.mu.Unlock()
	offer(l.changed, struct{}{})
	return false
}

func (l *tickLog) IsBusy() bool { return false }

// since returns the ticks after the first n, when all watchers have been called for each.
func (l *tickLog) since(n int) []bool {
	tick.Process.Watch(l) // waits for a tick that is in progress
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.late[n:])
}

// await waits until there are n ticks, and all watchers have been called for them.
func (l *tickLog) await(n int) {
	for len(l.since(0)) < n {
		<-l.changed
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

// stopInHandlers is the other process. It makes three rounds, of which a busy machine may need some more. A round proves nothing if the handler did not have
// one tick before the stop and a late one after it, or if the loop may have been taken for two ticks that were on time.
func stopInHandlers(t *testing.T) {
	ticks := &tickLog{changed: make(chan struct{}, 1)}
	tick.Process.Watch(ticks)
	defer tick.Process.Unwatch(ticks)
	begun := make(chan int, 1)
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: placed(server.OnLoop, func(_ server.Reply, line string) string {
		n := len(ticks.since(0))
		ticks.await(n + 1)
		wantNil(t, "kill", syscall.Kill(os.Getpid(), syscall.SIGSTOP))
		ticks.await(n + 2)
		begun <- n
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
		late := ticks.since(testkit.Await(t, begun, "the handler"))
		proves := !late[0] && late[1]
		for i := range late[1:] {
			proves = proves && (late[i] || late[i+1])
		}
		if proves {
			rounds++
			stalls += s.routes().Stalls - before
		}
	}
	fmt.Printf("rounds: %d, stalls: %d\n", rounds, stalls)
	hangUp(nc)
	s.shutdown(t)
}

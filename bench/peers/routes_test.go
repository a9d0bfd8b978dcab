//go:build linux

package peers_test

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/bench/internal/peertest"
)

func TestTheServerReportsWhereRequestsHaveRunOnASignal(t *testing.T) {
	cmd := exec.Command(peertest.Program(t, "evmq"), "-addr", "127.0.0.1:0", "-mode", "pool", "-framing", "line")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() { _ = cmd.Process.Kill() } // fails if it has ended
	watchdog := time.AfterFunc(patience, end)
	t.Cleanup(func() {
		watchdog.Stop()
		end()
		_ = cmd.Wait() // reports that it was killed
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("standard output is %q (%v)", line, err)
	}
	c := dial(t, addr)
	for range 3 {
		if _, err := io.WriteString(c, "request\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	line, err = bufio.NewReader(stderr).ReadString('\n')
	_, counters, _ := strings.Cut(line, ": ")
	var inline, onWorkers int
	if _, scanErr := fmt.Sscanf(counters, "%d inline, %d on workers", &inline, &onWorkers); scanErr != nil || inline+onWorkers != 3 {
		t.Errorf("standard error is %q (%v), and does not count three requests", line, err)
	}
}

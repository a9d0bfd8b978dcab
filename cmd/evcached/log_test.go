//go:build linux || darwin || freebsd

package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// unread starts the program with a pipe for standard error that is not read, on a unix socket, and connects.
func unread(t *testing.T, args ...string) (p *running, pipe *os.File, c *client) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	cmd := command(append([]string{"-s", path}, args...)...)
	pipe, theirs, err := os.Pipe()
	testkit.Must(t, err)
	cmd.Stderr = theirs
	testkit.Must(t, cmd.Start())
	testkit.Must(t, theirs.Close())
	p = &running{t: t, cmd: cmd, ended: make(chan error, 1)}
	go func() { p.ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // usually fails, because the process has ended
		pipe.Close()
	})
	var nc net.Conn
	eventually(t, "the server listens", func() bool {
		nc, err = net.Dial("unix", path)
		return err == nil
	})
	return p, pipe, talk(t, nc)
}

// flood makes the server log far more than a pipe holds, and expects all answers.
func flood(c *client) {
	c.t.Helper()
	for range 200 {
		c.ask(strings.Repeat("get k\r\n", 100), strings.Repeat("END\r\n", 100))
	}
}

// While a client has requests logged and standard error is not read, other clients are served. When standard error is read again, a line has the
// number of dropped lines.
func TestStandardErrorThatIsNotReadDelaysNoClient(t *testing.T) {
	t.Parallel()
	p, pipe, c := unread(t)
	c.ask("verbosity 5\r\n", "OK\r\n")
	flood(c)
	other := dial(t, "unix", c.RemoteAddr().String())
	flood(other)
	lines := bufio.NewScanner(pipe)
	testkit.Must(t, pipe.SetReadDeadline(time.Now().Add(testTimeout)))
	logged, skipped := 0, 0
	for skipped == 0 && lines.Scan() {
		if _, n, found := strings.Cut(lines.Text(), `msg="log: lines skipped" lines=`); found {
			_, err := fmt.Sscan(n, &skipped)
			testkit.Must(t, err)
		} else if strings.Contains(lines.Text(), "get k") {
			logged++
		}
	}
	testkit.Must(t, lines.Err())
	if total := logged + skipped; skipped < 1000 || total > 40_000 {
		t.Errorf("%d lines were logged and %d left out, of 40000", logged, skipped)
	}
	p.end()
}

// The program ends in order and with its status while standard error is not read.
func TestStandardErrorThatIsNotReadDoesNotDelayTheEnd(t *testing.T) {
	t.Parallel()
	p, _, c := unread(t, "-vv")
	flood(c)
	testkit.Must(t, c.Close())
	p.signal(syscall.SIGTERM)
	if status := p.wait(); status != 0 {
		t.Errorf("status %d", status)
	}
}

// TestAStopStaysWithinASecondWhateverTheLogTakes, and a long one, which saves items, gives the log a little time after that.
func TestAStopStaysWithinASecondWhateverTheLogTakes(t *testing.T) {
	p := &program{}
	now := time.Now()
	if got := p.logTime(now); got != logTimeout {
		t.Errorf("%v before a stop", got)
	}
	p.stopAt = now
	for took := time.Duration(0); took < 3*time.Second; took += 10 * time.Millisecond {
		got := p.logTime(now.Add(took))
		if took <= stopGrace && took+got > time.Second || got < minLogTimeout || got > stopGrace {
			t.Errorf("%v when a stop has taken %v", got, took)
		}
	}
}

// TestAFloodOfRequestsIsLoggedAtABoundedRate, also where standard error is read.
func TestAFloodOfRequestsIsLoggedAtABoundedRate(t *testing.T) {
	t.Parallel()
	p := start(t, "-p", "-1", "-vv")
	c := dial(t, "tcp", p.addrs[0])
	begun := time.Now()
	flood(c)
	line := p.line("lines skipped")
	most := 1000 * (2 + int(time.Since(begun)/time.Second)) // a burst, and the rate
	if logged := strings.Count(p.output(), "get k"); logged > most+1000 {
		t.Errorf("%d lines in %v; then %q", logged, time.Since(begun), line)
	}
	p.end()
}

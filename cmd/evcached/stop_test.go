//go:build linux || darwin || freebsd

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// TestAStopLosesNoAnswer stops the program under load: each answer that has begun is complete, and all requests that were read are answered.
func TestAStopLosesNoAnswer(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1} {
		cmd := command("-v", "-p", "-1")
		cmd.Env = append(cmd.Env, stopsPatiently+"=1") // clients on a slow machine have time to read
		p := startCommand(t, cmd)
		value := strings.Repeat("x", 100_000)
		askOnce(t, "tcp", p.addrs[0], "set big 0 0 100000\r\n"+value+"\r\n", "STORED\r\n")
		var clients sync.WaitGroup
		var answers atomic.Int64
		for i := range 8 {
			key, want := "small", "END\r\n"
			if i%2 == 0 {
				key, want = "big", "VALUE big 0 100000\r\n"+value+"\r\nEND\r\n"
			}
			clients.Go(func() { askUntilTheEnd(t, p.addrs[0], "get "+key+"\r\n", want, &answers) })
		}
		eventually(t, "answers come", func() bool { return answers.Load() > 500 })
		p.signal(sig)
		equal(t, fmt.Sprint("the status after ", sig), p.wait(), 0)
		clients.Wait()
	}
}

// askUntilTheEnd sends requests, eight at a time, and checks that each answer is complete until the connection ends between two answers.
func askUntilTheEnd(t *testing.T, addr, request, want string, answers *atomic.Int64) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(testTimeout))
	in, got := bufio.NewReader(nc), make([]byte, len(want))
	batch := strings.Repeat(request, 8)
	for {
		if _, err := io.WriteString(nc, batch); err != nil {
			t.Errorf("the connection is cut: %v", err)
			return
		}
		for range 8 {
			n, err := io.ReadFull(in, got)
			switch {
			case n == 0 && err == io.EOF: // in order: a reset could take answers back
				return
			case err != nil:
				t.Errorf("an answer ends after %d of %d bytes: %v", n, len(want), err)
				return
			case string(got) != want:
				t.Errorf("the answer is %.40q", got)
				return
			}
			answers.Add(1)
		}
	}
}

// TestASecondSignalEndsTheStopAtOnce, although a client does not read its answers.
func TestASecondSignalEndsTheStopAtOnce(t *testing.T) {
	p := start(t, "-p", "-1")
	c := dial(t, "tcp", p.addrs[0])
	value := strings.Repeat("x", 1_000_000)
	c.ask("set big 0 0 1000000\r\n"+value+"\r\n", "STORED\r\n")
	_, err := io.WriteString(c, strings.Repeat("get big\r\n", 20))
	testkit.Must(t, err)
	p.signal(syscall.SIGTERM)
	p.line("msg=stopping")
	eventually(t, "it ends", func() bool { // signals that come at once are one
		_ = p.cmd.Process.Signal(syscall.SIGINT) // fails when it has ended
		time.Sleep(10 * time.Millisecond)        // not to signal without a rest
		select {
		case err := <-p.ended:
			p.ended <- err
			return true
		default:
			return false
		}
	})
	equal(t, "the status", p.wait(), 0)
	if want := errSecondSignal.Error(); !strings.Contains(p.output(), want) {
		t.Errorf("the output is %q, want %q", p.output(), want)
	}
}

// TestThePIDFileExistsWhileTheProgramRuns tests -P.
func TestThePIDFileExistsWhileTheProgramRuns(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	testkit.Must(t, os.WriteFile(file, []byte("1\n"), 0o600)) // of one that was killed
	p := start(t, "-p", "-1", "-P", file)
	text, err := os.ReadFile(file)
	testkit.Must(t, err)
	equal(t, "the file", string(text), fmt.Sprintln(p.cmd.Process.Pid))
	p.end()
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is left behind: %v", err)
	}

	p = start(t, "-p", "-1", "-P", file)
	testkit.Must(t, os.WriteFile(file, []byte("1\n"), 0o600)) // a successor's
	p.end()
	text, err = os.ReadFile(file)
	testkit.Must(t, err)
	equal(t, "the successor's file", string(text), "1\n")
}

// TestADaemonListensWhenItsParentReturns tests -d.
func TestADaemonListensWhenItsParentReturns(t *testing.T) {
	dir := socketDir(t)
	file, pidFile := filepath.Join(dir, "s"), filepath.Join(dir, "pid")
	cmd := command("-d", "-s", "s", "-P", "pid", "-k") // relative names, though a daemon goes to /
	cmd.Dir = dir
	out, err := cmd.CombinedOutput() // which ends only if the daemon has let go of it
	if err != nil {
		t.Fatalf("%v; it says:\n%s", err, out)
	}
	equal(t, "what it says", string(out), "evcached: warning: -k (--lock-memory) is ignored: memory is not locked\n")
	text, err := os.ReadFile(pidFile)
	testkit.Must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	testkit.Must(t, err)
	daemon, err := os.FindProcess(pid) // by a descriptor, so that it is this one for good
	testkit.Must(t, err)
	defer daemon.Release()
	defer daemon.Kill()
	c := dial(t, "unix", file)
	c.ask(askVersion, isVersion)
	session, err := syscall.Getpgid(pid)
	testkit.Must(t, err)
	equal(t, "the daemon's group", session, pid)
	if where, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err == nil { // Linux has that
		equal(t, "the daemon's directory", where, "/")
	}
	testkit.Must(t, daemon.Signal(syscall.SIGTERM))
	c.expectEnd("")
	c.Close()
	eventually(t, "the daemon takes its files away", func() bool {
		left, err := os.ReadDir(dir)
		testkit.Must(t, err)
		return len(left) == 0
	})
}

// TestTheParentReportsADaemonThatCannotListen by its status and output.
func TestTheParentReportsADaemonThatCannotListen(t *testing.T) {
	want := "evcached: listen tcp 203.0.113.1:0: bind: "
	if got := refused(t, statusSystem, "-d", "-l", "203.0.113.1:0"); !strings.HasPrefix(got, want) || strings.Count(got, "\n") != 1 {
		t.Errorf("the output is %q, want %q", got, want)
	}
	want = "evcached: unknown option -Q; see evcached --help\n"
	equal(t, "what it says", refused(t, statusIllegal, "-d", "-Q"), want)
}

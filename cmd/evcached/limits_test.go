//go:build linux || darwin || freebsd

package main

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
	"github.com/evmq/evmq/server"
)

// TestAConnectionAboveTheLimitIsRefusedWithAMessage tests maxconns_fast. The limit is exact.
func TestAConnectionAboveTheLimitIsRefusedWithAMessage(t *testing.T) {
	p := start(t, "-p", "-1", "-c", "3")
	var in []*client
	for range 3 {
		c := dial(t, "tcp", p.addrs[0])
		c.ask(askVersion, isVersion)
		in = append(in, c)
	}
	dial(t, "tcp", p.addrs[0]).expectEnd(tooMany)
	in[0].Close()
	eventually(t, "a place is free again", func() bool {
		c := dial(t, "tcp", p.addrs[0])
		defer c.Close()
		_, err := io.WriteString(c, askVersion)
		testkit.Must(t, err)
		line, err := c.in.ReadString('\n')
		return err == nil && line == isVersion
	})
	in[1].ask(askVersion, isVersion)
	in[1].Close()
	in[2].Close()
	p.end()
}

// TestTheLargestItemSizeIsServed stores a value with the largest -I.
func TestTheLargestItemSizeIsServed(t *testing.T) {
	p := start(t, "-p", "-1", "-m", "2048", "-I", "1024m")
	c := dial(t, "tcp", p.addrs[0])
	value := strings.Repeat("0123456789abcdef", 3<<16) // above the size that is the limit otherwise
	head := "set k 0 0 " + strconv.Itoa(len(value)) + "\r\n"
	c.ask(head+value+"\r\n", "STORED\r\n")
	c.ask("get k\r\n", "VALUE k 0 "+strconv.Itoa(len(value))+"\r\n"+value+"\r\nEND\r\n")
	c.Close()
	p.end()
}

// TestAConnectionAboveTheLimitWaits tests no_maxconns_fast: no connection is refused.
func TestAConnectionAboveTheLimitWaits(t *testing.T) {
	p := start(t, "-p", "-1", "-c", "2", "-o", "no_maxconns_fast", "-l", "127.0.0.1,127.0.0.1:0")
	var in, out []*client
	for i := range 2 {
		c := dial(t, "tcp", p.addrs[i])
		c.ask(askVersion, isVersion)
		in = append(in, c)
	}
	for i := range 6 { // some of them in the kernel's queue
		c := dial(t, "tcp", p.addrs[i%2])
		_, err := io.WriteString(c, askVersion)
		testkit.Must(t, err)
		out = append(out, c)
	}
	testkit.Must(t, out[0].SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	if n, err := out[0].Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) { // a server that serves it would mostly be caught
		t.Fatalf("one above the limit reads %d bytes, %v", n, err)
	}
	testkit.Must(t, out[0].SetReadDeadline(time.Now().Add(testTimeout)))
	eventually(t, "waiting connections are counted", func() bool { return in[0].stat("listen_disabled_num") != "0" })
	in[0].ask(askVersion, isVersion)
	in[0].Close()
	in[1].Close()
	var served sync.WaitGroup
	for _, c := range out {
		served.Go(func() {
			defer c.Close()
			if line, err := c.in.ReadString('\n'); err != nil || line != isVersion {
				t.Errorf("one that waited reads %q, %v", line, err)
			}
		})
	}
	served.Wait()
	p.end()
}

// TestWaitingClientsDoNotDelayTheEnd stops the program while connections wait for a place.
func TestWaitingClientsDoNotDelayTheEnd(t *testing.T) {
	p := start(t, "-p", "-1", "-c", "1", "-o", "no_maxconns_fast")
	in := dial(t, "tcp", p.addrs[0])
	in.ask(askVersion, isVersion)
	waits := dial(t, "tcp", p.addrs[0])
	p.signal(syscall.SIGTERM)
	in.expectEnd("")
	in.Close()
	_, _ = waits.Read(make([]byte, 1)) // the end, or a reset
	equal(t, "the status", p.wait(), 0)
}

// TestTheGateHidesNothingOfTheCachesHandler: a server finds what that implements behind it, and nothing of the gate's in front of it.
func TestTheGateHidesNothingOfTheCachesHandler(t *testing.T) {
	c, err := memcache.New(nil)
	testkit.Must(t, err)
	defer c.Close()
	h := c.Handler()
	g := server.Handler(newGate(h, 1, nil))
	w, ok := g.(interface{ Unwrap() server.Handler })
	if !ok || w.Unwrap() != h {
		t.Error("the gate does not say what it wraps")
	}
	_, marks := g.(server.MarkHandler)
	_, eof := g.(server.EOFHandler)
	equal(t, "what the gate keeps from the cache's handler", [2]bool{marks, eof}, [2]bool{})
}

// TestIdleConnectionsAreClosed is -o idle_timeout.
func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	p := start(t, "-p", "-1", "-U", "-1", "-o", "idle_timeout=1")
	begun := time.Now()
	dial(t, "tcp", p.addrs[0]).expectEnd("") // a request could come too late on a slow machine
	if passed := time.Since(begun); passed < time.Second {
		t.Errorf("closed after %v", passed)
	}
	eventually(t, "the closed connection is counted", func() bool { // by UDP, since a connection could be closed before its request
		return strings.Contains(statsByUDP(t, p.addrs[1]), "STAT idle_kicks 1\r\n")
	})
	p.end()
}

// statsByUDP returns the answer to a stats command.
func statsByUDP(t *testing.T, addr string) (stats string) {
	t.Helper()
	c := dial(t, "udp", addr)
	_, err := io.WriteString(c, "\x12\x34\x00\x00\x00\x01\x00\x00stats\r\n")
	testkit.Must(t, err)
	for datagram := make([]byte, 1500); !strings.HasSuffix(stats, "END\r\n"); {
		n, err := c.Read(datagram)
		testkit.Must(t, err)
		stats += string(datagram[8:n])
	}
	return stats
}

// TestServersAreConfiguredByTheSettings: idle connections are not closed by default, unlike a server's own default.
func TestServersAreConfiguredByTheSettings(t *testing.T) {
	c, err := memcache.New(nil)
	testkit.Must(t, err)
	defer c.Close()
	s, err := parse([]string{"-c", "7", "-t", "3"}, nil)
	testkit.Must(t, err)
	srv := (&program{settings: s, cache: c}).newServer(c.Handler())
	equal(t, "MaxConns", srv.MaxConns, 7)
	equal(t, "Loops", srv.NumLoops, 3)
	equal(t, "that there is no idle timeout", srv.IdleTimeout < 0, true)
	s.idle = time.Hour
	srv = (&program{settings: s, cache: c}).newServer(c.Handler())
	equal(t, "IdleTimeout", srv.IdleTimeout, time.Hour)
}

// TestFewerLoopsLimitTheProcessors unless GOMAXPROCS is set. More loops have no effect on it.
func TestFewerLoopsLimitTheProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	t.Setenv("GOMAXPROCS", "4")
	limitProcessors(2)
	equal(t, "GOMAXPROCS, which is given,", runtime.GOMAXPROCS(0), 4)
	t.Setenv("GOMAXPROCS", "")
	limitProcessors(5)
	equal(t, "GOMAXPROCS with 5 loops", runtime.GOMAXPROCS(0), 4)
	limitProcessors(2)
	equal(t, "GOMAXPROCS with 2 loops", runtime.GOMAXPROCS(0), 2)
}

// TestStatsSettingsShowsTheCommandLine to a client.
func TestStatsSettingsShowsTheCommandLine(t *testing.T) {
	p := start(t, "-p", "-1", "-t", "1", "-c", "77", "-o", "idle_timeout=99", "-m", "100")
	c := dial(t, "tcp", p.addrs[0])
	_, err := io.WriteString(c, "stats settings\r\n")
	testkit.Must(t, err)
	said := map[string]bool{}
	for line := ""; line != "END\r\n"; {
		line, err = c.in.ReadString('\n')
		testkit.Must(t, err)
		said[line] = true
	}
	for _, want := range []string{"maxbytes 104857600", "maxconns 77", "num_threads 1", "idle_timeout 99", "inter 127.0.0.1", "tcp_backlog 1024",
		"domain_socket NULL", "umask 700", "maxconns_fast yes", "ssl_enabled no", "verbosity 1"} {
		if !said["STAT "+want+"\r\n"] {
			t.Errorf("stats settings does not say %q", want)
		}
	}
	c.Close()
	p.signal(syscall.SIGHUP) // with nothing to read again
	askOnce(t, "tcp", p.addrs[0], askVersion, isVersion)
	p.end()
}

// withFiles returns the program with a limit of open files.
func withFiles(files string, args ...string) *exec.Cmd {
	cmd := command()
	cmd.Args = append([]string{"sh", "-c", "ulimit -n " + files + ` && exec "$@"`, "sh", cmd.Path, "-v"}, args...)
	cmd.Path = "/bin/sh"
	return cmd
}

// TestTheLimitOfOpenFilesIsRaisedOrAnError starts with fewer than the connections need. Only root may raise the limit.
func TestTheLimitOfOpenFilesIsRaisedOrAnError(t *testing.T) {
	if exec.Command("/bin/sh", "-c", "ulimit -n 200 && ulimit -n 500").Run() == nil {
		p := startCommand(t, withFiles("200", "-p", "-1", "-c", "300"))
		for range 300 {
			dial(t, "tcp", p.addrs[0]).ask(askVersion, isVersion)
		}
		dial(t, "tcp", p.addrs[0]).expectEnd(tooMany)
		p.signal(syscall.SIGKILL)
		p.wait()
		return
	}
	cmd := withFiles("200", "-p", "-1", "-c", "300")
	out, _ := cmd.CombinedOutput() // the status says it
	equal(t, "the status", cmd.ProcessState.ExitCode(), statusSystem)
	if want := "evcached: -c 300: the process may open 200 files, and the limit cannot be raised: "; !strings.HasPrefix(string(out), want) {
		t.Errorf("the output is %q, want %q", out, want)
	}
}

// TestEnoughFilesForTheConnectionsSuffice, if the limit cannot be raised further.
func TestEnoughFilesForTheConnectionsSuffice(t *testing.T) {
	p := startCommand(t, withFiles("200", "-p", "-1", "-c", "150"))
	askOnce(t, "tcp", p.addrs[0], askVersion, isVersion)
	p.end()
}

// TestAuthenticationFileIsReadAgain tests -Y and SIGHUP.
func TestAuthenticationFileIsReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	testkit.Must(t, os.WriteFile(file, []byte("ann:secret\n"), 0o600))
	p := start(t, "-p", "-1", "-Y", file)
	login := func(user, password, want string) {
		c := dial(t, "tcp", p.addrs[0])
		defer c.Close()
		text := user + " " + password
		c.ask("set auth 0 0 "+strconv.Itoa(len(text))+"\r\n"+text+"\r\n", want)
	}
	unknown := dial(t, "tcp", p.addrs[0])
	unknown.ask("get a\r\n", "CLIENT_ERROR unauthenticated\r\n")
	unknown.Close()
	ann := dial(t, "tcp", p.addrs[0])
	ann.ask("set auth 0 0 10\r\nann secret\r\nget a\r\n", "STORED\r\nEND\r\n")
	login("bob", "hidden", "CLIENT_ERROR authentication failure\r\n")

	testkit.Must(t, os.WriteFile(file, []byte("bob:hidden\n"), 0o600))
	p.signal(syscall.SIGHUP)
	p.line("msg=reloaded")
	login("bob", "hidden", "STORED\r\n")
	login("ann", "secret", "CLIENT_ERROR authentication failure\r\n")
	ann.ask("get a\r\n", "END\r\n")
	ann.Close()

	testkit.Must(t, os.Remove(file))
	p.signal(syscall.SIGHUP)
	p.line("the former content stays in force")
	login("bob", "hidden", "STORED\r\n")
	p.signal(syscall.SIGINT)
	equal(t, "the status", p.wait(), 0)
}

// TestShutdownCommandEndsTheProgram tests -A. Without it the command is refused.
func TestShutdownCommandEndsTheProgram(t *testing.T) {
	p := start(t, "-p", "-1")
	c := dial(t, "tcp", p.addrs[0])
	c.ask("shutdown\r\n"+askVersion, "ERROR: shutdown not enabled\r\n"+isVersion)
	c.Close()
	p.end()

	p = start(t, "-p", "-1", "-A")
	c = dial(t, "tcp", p.addrs[0])
	_, err := io.WriteString(c, "shutdown\r\n")
	testkit.Must(t, err)
	_, _ = c.in.ReadString('\n') // the end
	c.Close()
	equal(t, "the status", p.wait(), 0)
	if nc, err := net.Dial("tcp", p.addrs[0]); err == nil {
		nc.Close()
		t.Error("a socket is still open")
	}
}

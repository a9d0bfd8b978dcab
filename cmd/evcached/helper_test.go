//go:build linux || darwin || freebsd

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
)

// asProgram makes the test's binary run as the program, with the race detector if the test has it.
const asProgram = "EVCACHED_TEST_IS_PROGRAM"

// stopsPatiently makes the program, in the test's binary, give clients as much time at a stop as the test has.
const stopsPatiently = "EVCACHED_TEST_STOPS_PATIENTLY"

func TestMain(m *testing.M) {
	if os.Getenv(stopsPatiently) != "" {
		stopGrace, drainTimeout = testTimeout, testTimeout
	}
	if os.Getenv(asProgram) != "" {
		main()
	}
	testkit.ParallelTests(8)
	leaktest.Main(m)
}

// testTimeout is the time after which a test fails if something that should happen at once has not happened.
const testTimeout = time.Minute

// running is a running server.
type running struct {
	t      testing.TB
	cmd    *exec.Cmd
	addrs  []string // what it listens on, in the order of its command line, streams first
	lines  chan string
	ended  chan error
	mu     sync.Mutex
	stderr bytes.Buffer
}

// command returns a command that runs the program with arguments.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	// The race detector would have each process linger for a second, for its other threads.
	cmd.Env = append(os.Environ(), asProgram+"=1", "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	return cmd
}

// start runs the program, and waits until it listens. If it is still running when the test ends, it is killed.
func start(t testing.TB, args ...string) *running {
	t.Helper()
	return startCommand(t, command(append([]string{"-v"}, args...)...))
}

func startCommand(t testing.TB, cmd *exec.Cmd) *running {
	t.Helper()
	p := &running{t: t, cmd: cmd, lines: make(chan string, 1<<16), ended: make(chan error, 1)}
	out, err := p.cmd.StderrPipe()
	testkit.Must(t, err)
	testkit.Must(t, p.cmd.Start())
	var reader sync.WaitGroup
	reader.Go(func() { p.read(out) })
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // says that it has ended, mostly
		reader.Wait()
		if t.Failed() {
			t.Logf("standard error of %q:\n%s", cmd.Args, p.output())
		}
	})
	for {
		switch line := p.line(""); {
		case strings.Contains(line, "msg=listening"):
			_, addr, _ := strings.Cut(line, "address=")
			addr, _, _ = strings.Cut(addr, " tls=")
			p.addrs = append(p.addrs, addr)
		case strings.Contains(line, "msg=ready"):
			return p
		}
	}
}

func (p *running) read(out io.Reader) {
	in := bufio.NewScanner(out)
	for in.Scan() {
		p.mu.Lock()
		fmt.Fprintln(&p.stderr, in.Text())
		p.mu.Unlock()
		p.lines <- in.Text()
	}
	p.ended <- p.cmd.Wait()
	close(p.lines)
}

// output returns what the program has written to standard error.
func (p *running) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// line returns the next line of standard error that contains part.
func (p *running) line(part string) string {
	p.t.Helper()
	timeout := time.After(testTimeout)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("the program ended and never said %q; it said:\n%s", part, p.output())
			}
			if strings.Contains(line, part) {
				return line
			}
		case <-timeout:
			p.t.Fatalf("the program did not say %q", part)
		}
	}
}

func (p *running) signal(sig syscall.Signal) {
	p.t.Helper()
	testkit.Must(p.t, p.cmd.Process.Signal(sig))
}

// wait waits for the end of the program, and returns its status.
func (p *running) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(testTimeout):
		p.t.Fatal("the program did not end")
		return 0
	}
}

// end stops the program with SIGTERM and checks the status.
func (p *running) end() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if got := p.wait(); got != 0 {
		p.t.Fatalf("status %d after SIGTERM", got)
	}
}

// client is a connection to a server, closed when the test ends.
type client struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func dial(t testing.TB, network, addr string) *client {
	t.Helper()
	nc, err := net.DialTimeout(network, addr, testTimeout)
	testkit.Must(t, err)
	return talk(t, nc)
}

func talk(t testing.TB, nc net.Conn) *client {
	t.Helper()
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testTimeout)))
	t.Cleanup(func() { nc.Close() })
	return &client{t, nc, bufio.NewReader(nc)}
}

// ask sends text and checks that the answer is exactly the given one.
func (c *client) ask(text, want string) {
	c.t.Helper()
	_, err := io.WriteString(c, text)
	testkit.Must(c.t, err)
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c.in, got); err != nil || string(got) != want {
		c.t.Fatalf("%q is answered with %q, %v; want %q", text, got[:n], err, want)
	}
}

// stat returns one of the statistics, "" if there is none of this name.
func (c *client) stat(name string) (value string) {
	c.t.Helper()
	return c.named("stats\r\n", name)
}

// setting is like stat for stats settings.
func (c *client) setting(name string) (value string) {
	c.t.Helper()
	return c.named("stats settings\r\n", name)
}

// named returns the value of a name in the answer to a stats command.
func (c *client) named(command, name string) (value string) {
	c.t.Helper()
	_, err := io.WriteString(c, command)
	testkit.Must(c.t, err)
	for {
		line, err := c.in.ReadString('\n')
		testkit.Must(c.t, err)
		if line == "END\r\n" {
			return value
		}
		if rest, ok := strings.CutPrefix(line, "STAT "+name+" "); ok {
			value = strings.TrimSpace(rest)
		}
	}
}

// expectEnd checks that the stream ends after want.
func (c *client) expectEnd(want string) {
	c.t.Helper()
	if got, err := io.ReadAll(c.in); err != nil || string(got) != want {
		c.t.Fatalf("read %q, %v; want %q and the end", got, err, want)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, happened func() bool) {
	t.Helper()
	for tries := time.Now().Add(testTimeout); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(tries) {
			t.Fatalf("never: %s", what)
		}
	}
}

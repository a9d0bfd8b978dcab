package examples_test

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	// The programs use these; a change of them must make go test run the tests again.
	_ "github.com/evmq/evmq/event"
	_ "github.com/evmq/evmq/msgqueue"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
)

func TestMain(m *testing.M) {
	testkit.ParallelTests(8)
	leaktest.Main(m, programs.remove)
}

// patience is when a test gives up on something that should happen at once. It is no measure of speed.
const patience = 3 * time.Minute

// build returns the program of an example, which is compiled once for all tests.
func build(t *testing.T, name string) (binary string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(name, "main.go")); err != nil { // go test notes it as an input
		t.Fatal(err)
	}
	binary, err := programs.build(name)
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// programs are the examples that have been compiled.
var programs compiled

type compiled struct {
	mu   sync.Mutex // guards the fields, and is held while examples are compiled
	dir  string
	made map[string]bool // by name, or "..." for all
}

// build returns the path of an example's program. The first call compiles all examples, which takes half the time of one after the other; if
// the tests are selected with -run, each call compiles its own example once.
func (c *compiled) build(name string) (path string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dir == "" {
		if c.dir, err = os.MkdirTemp("", "examples"); err != nil {
			return "", err
		}
		c.made = map[string]bool{}
	}
	unit := "..."
	if flag.Lookup("test.run").Value.String() != "" {
		unit = name
	}
	if !c.made[unit] {
		if err := compile(unit, "-o", c.dir+string(filepath.Separator)); err != nil {
			return "", err
		}
		c.made[unit] = true
	}
	return filepath.Join(c.dir, name), nil
}

// remove removes the programs.
func (c *compiled) remove() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := os.RemoveAll(c.dir); err != nil {
		fmt.Fprintln(os.Stderr, "remove the compiled examples:", err)
	}
}

// compile compiles an example, or all with the name "...", with more arguments for go build, and with the race detector where the test itself has it. Without information for
// a debugger (-w) that takes half the time.
func compile(name string, arguments ...string) error {
	args := append([]string{"build", "-buildvcs=false", "-ldflags=-w"}, arguments...)
	if leaktest.Raced() {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "./"+name)...).CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", name, err, out)
	}
	return nil
}

// program is an example that runs.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  chan string // what it prints; closed when it has ended
	ended  chan error
	stderr bytes.Buffer
}

// start runs a command. It is killed when the test ends and it has not ended.
func start(t *testing.T, binary string, args ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.Command(binary, args...), lines: make(chan string, 1<<16), ended: make(chan error, 1)}
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var reader sync.WaitGroup
	reader.Go(func() { p.read(out) })
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // says that it has ended, mostly
		reader.Wait()
		if t.Failed() && p.stderr.Len() > 0 {
			t.Logf("standard error:\n%s", &p.stderr)
		}
	})
	return p
}

func (p *program) read(out io.Reader) {
	in := bufio.NewScanner(out)
	for in.Scan() {
		p.lines <- in.Text()
	}
	p.ended <- p.cmd.Wait()
	close(p.lines)
}

// line returns the rest of the next line that begins with prefix.
func (p *program) line(prefix string) string {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("the program ended and never printed %q", prefix)
			}
			if rest, found := strings.CutPrefix(line, prefix); found {
				return rest
			}
		case <-timeout:
			p.t.Fatalf("the program did not print %q", prefix)
		}
	}
}

func (p *program) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// wait waits for the end and wants status 0 and a silent standard error.
func (p *program) wait() {
	p.t.Helper()
	select {
	case err := <-p.ended:
		var exit *exec.ExitError
		if errors.As(err, &exit) || p.stderr.Len() > 0 {
			p.t.Fatalf("the program ended with %v; standard error:\n%s", err, &p.stderr)
		}
		if err != nil {
			p.t.Fatal(err)
		}
	case <-time.After(patience):
		p.t.Fatal("the program did not end")
	}
}

// output returns all that a program prints which ends by itself.
func output(t *testing.T, binary string, args ...string) string {
	t.Helper()
	p := start(t, binary, args...)
	p.wait()
	var all []string
	for line := range p.lines {
		all = append(all, line)
	}
	return strings.Join(all, "\n")
}

package examples_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// generations is a program that is replaced by new processes of itself, which print where it prints.
type generations struct {
	*program
	stopped, answers int // processes that have ended, and the answers that they say they gave
}

// next waits for the next process that listens. It is killed when the test ends before it does.
func (g *generations) next() (process *os.Process, addr string) {
	g.t.Helper()
	var pid int
	for {
		line := g.line("process ")
		if _, err := fmt.Sscanf(line, "%d listening on %s", &pid, &addr); err == nil {
			break
		}
		g.add(line)
	}
	process, err := os.FindProcess(pid) // by a descriptor, so that it is this one for good
	testkit.Must(g.t, err)
	g.t.Cleanup(func() {
		_ = process.Kill() // says that it has ended, mostly
		_ = process.Release()
	})
	return process, addr
}

func (g *generations) add(line string) {
	g.t.Helper()
	var pid, answers int
	if _, err := fmt.Sscanf(line, "%d stopped: %d answers", &pid, &answers); err != nil {
		g.t.Fatalf("process %q: %v", line, err)
	}
	g.stopped++
	g.answers += answers
}

// asker is what the clients of a test share.
type asker struct {
	t        *testing.T
	addr     string
	answered atomic.Int64
	ending   atomic.Bool // from now on a refused connection is no failure
}

// ask asks line after line, batch of them at a time, and connects anew after perConn of them and when its connection ends. It sends
// the lines that were not answered again. A client has to do nothing else.
func (a *asker) ask(name string, batch, perConn int) {
	for n, pending := 0, []string(nil); ; {
		c, err := net.DialTimeout("tcp", a.addr, patience)
		if err != nil {
			if !a.ending.Load() {
				a.t.Errorf("client %s cannot connect: %v", name, err)
			}
			return
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		in := bufio.NewReader(c)
		for served := 0; served < perConn && err == nil; {
			for ; len(pending) < batch; n++ {
				pending = append(pending, strings.ToUpper(fmt.Sprintf("%s line %d\n", name, n)))
			}
			_, err = io.WriteString(c, strings.ToLower(strings.Join(pending, "")))
			for len(pending) > 0 && err == nil {
				var got string
				if got, err = in.ReadString('\n'); got != "" && got != pending[0] {
					a.t.Errorf("client %s got %q and %v, want %q", name, got, err, pending[0])
					return
				}
				if err == nil {
					pending = pending[1:]
					served++
					a.answered.Add(1)
				}
			}
		}
		c.Close()
		if err != nil && err != io.EOF && !a.ending.Load() {
			a.t.Errorf("client %s: the connection ended with %v", name, err)
			return
		}
	}
}

// TestGracefulLosesNoAnswerWhileItIsReloaded has clients asking all the time, over connections that last and over new ones.
func TestGracefulLosesNoAnswerWhileItIsReloaded(t *testing.T) {
	g := &generations{program: start(t, build(t, "graceful"), "-addr", "127.0.0.1:0", "-work", "200us")}
	process, addr := g.next()
	a := &asker{t: t, addr: addr}
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() { a.ask(fmt.Sprint("steady ", i), 1, 1<<30) })
		clients.Go(func() { a.ask(fmt.Sprint("pipelined ", i), 5, 1<<30) })
		clients.Go(func() { a.ask(fmt.Sprint("new ", i), 1, 3) })
	}
	const reloads = 4
	for range reloads {
		a.await(500)
		testkit.Must(t, process.Signal(syscall.SIGHUP))
		process, _ = g.next()
	}
	a.await(500)
	a.ending.Store(true)
	testkit.Must(t, process.Signal(syscall.SIGTERM))
	clients.Wait()
	for g.stopped <= reloads {
		g.add(g.line("process "))
	}
	g.wait()
	if got := int(a.answered.Load()); got != g.answers {
		t.Errorf("the processes have answered %d lines, and %d answers arrived", g.answers, got)
	}
}

// await waits until so many more answers have come.
func (a *asker) await(more int64) {
	a.t.Helper()
	tries := time.Now().Add(patience)
	for until := a.answered.Load() + more; a.answered.Load() < until; time.Sleep(time.Millisecond) {
		if a.t.Failed() || time.Now().After(tries) {
			a.t.Fatal("answers do not come any more")
		}
	}
}

// TestGracefulStaysWhenTheNewProcessFails puts a program in its place that ends at once.
func TestGracefulStaysWhenTheNewProcessFails(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "graceful") // a copy: other tests run the program, too
	testkit.Must(t, os.Link(build(t, "graceful"), binary))
	g := &generations{program: start(t, binary, "-addr", "127.0.0.1:0")}
	process, addr := g.next()
	testkit.Must(t, os.Remove(binary))
	testkit.Must(t, os.WriteFile(binary, []byte("#!/bin/sh\n: >\"$0.ran\"\nexit 3\n"), 0o700))
	c := dial(t, addr)
	testkit.Must(t, process.Signal(syscall.SIGHUP))
	for tries := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(binary + ".ran"); err == nil {
			break
		}
		if time.Now().After(tries) {
			t.Fatal("no new process was started")
		}
	}
	for range 50 { // on the connection that it had, and on new ones: the listener is as it was
		other := dial(t, addr)
		for _, c := range []*client{c, other} {
			c.send("still there?\n")
			c.expectLines("STILL THERE?")
		}
		other.Close()
	}
	c.Close()
	testkit.Must(t, process.Signal(syscall.SIGTERM))
	g.add(g.line("process "))
	if g.answers != 100 {
		t.Errorf("%d answers", g.answers)
	}
	if err := <-g.ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	if got, want := g.stderr.String(), "the new process is not ready: EOF; exit status 3"; !strings.Contains(got, want) {
		t.Errorf("it says %q, not %q", got, want)
	}
}

// TestGracefulFinishesWhatItHasRead has lines with the one worker, and behind it, when the process is to end.
func TestGracefulFinishesWhatItHasRead(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		g := &generations{program: start(t, build(t, "graceful"), "-addr", "127.0.0.1:0", "-work", "50ms")}
		process, addr := g.next()
		c := dial(t, addr)
		c.send("1\n")
		c.expectLines("1")
		c.send("a\nb\nc\nd\nhalf a li")
		testkit.Must(t, process.Signal(sig))
		c.expectLines("A", "B", "C", "D")
		c.expectEnd()
		c.Close()
		if sig == syscall.SIGHUP {
			process, _ = g.next()
			testkit.Must(t, process.Signal(syscall.SIGTERM))
			g.add(g.line("process "))
		}
		for g.stopped == 0 || sig == syscall.SIGHUP && g.stopped == 1 {
			g.add(g.line("process "))
		}
		g.wait()
		if g.answers != 5 {
			t.Errorf("%d answers after %v", g.answers, sig)
		}
	}
}

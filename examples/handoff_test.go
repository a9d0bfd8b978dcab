package examples_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

func TestHandoff(t *testing.T) {
	t.Parallel()
	binary := build(t, "handoff")
	for _, c := range []struct {
		rule string
		test func(t *testing.T, binary string)
	}{
		{"LinesAreAnsweredInTheOrderOfTheirConnection", linesInOrder},
		{"HalfCloseStillGetsAllAnswers", halfClose},
		{"UnfinishedLineIsNotAnswered", unfinishedLine},
		{"LateAnswerReachesNoStranger", lateAnswers},
		{"ClientThatDoesNotReadIsNotReadFrom", slowReader},
		{"LongLineEndsTheConnection", longLine},
		{"WorkersWorkBesideEachOther", besideEachOther},
		{"TermFinishesWhatWasRead", termFinishes},
		{"InterruptEndsIdleConnections", interruptIdle},
		{"SecondSignalEndsAtOnce", secondSignal},
		{"OutOfDescriptorsWaitsAndGoesOn", outOfDescriptors},
		{"ReportCountsEveryLine", reportCounts},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			c.test(t, binary)
		})
	}
}

// handoff is the program and where it listens.
type handoff struct {
	*program
	addr string
}

func startHandoff(t *testing.T, binary string, args ...string) *handoff {
	t.Helper()
	p := start(t, binary, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	return &handoff{p, p.line("listening on ")}
}

// stop ends the program, and wants that it has nothing left to give up.
func (h *handoff) stop(sig syscall.Signal) {
	h.t.Helper()
	h.signal(sig)
	if got, want := h.line("stopped: "), "0 connections cut, 0 answers lost"; got != want {
		h.t.Errorf("stopped with %s, want %s", got, want)
	}
	h.wait()
}

func (h *handoff) dial(t *testing.T) *client { t.Helper(); return dial(t, h.addr) }

// ask makes sure that the program serves others.
func (h *handoff) ask(t *testing.T) {
	t.Helper()
	c := h.dial(t)
	c.send("are you there?\n")
	c.expect("are you there?\n")
	c.Close()
}

// lines makes n different lines of up to size bytes.
func lines(seed uint64, n, size int) string {
	random := rand.New(rand.NewPCG(seed, 0))
	var all strings.Builder
	for i := range n {
		fmt.Fprintf(&all, "%d/%d %s\n", seed, i, strings.Repeat("x", random.IntN(size)))
	}
	return all.String()
}

func linesInOrder(t *testing.T, binary string) {
	h := startHandoff(t, binary, "-workers", "4")
	var clients sync.WaitGroup
	for i := range 8 {
		c, text := h.dial(t), lines(uint64(i), 500, 2000)
		clients.Go(func() {
			if _, err := io.WriteString(c, text); err != nil {
				t.Error(err)
			}
		})
		clients.Go(func() {
			got := make([]byte, len(text))
			if _, err := io.ReadFull(c.in, got); err != nil || string(got) != text {
				t.Errorf("client %d: other answers than lines, and %v", i, err)
			}
		})
	}
	clients.Wait()
	h.stop(syscall.SIGTERM)
}

func halfClose(t *testing.T, binary string) {
	h := startHandoff(t, binary, "-delay", "1ms")
	c, text := h.dial(t), lines(1, 200, 100)
	c.send(text)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.expect(text)
	c.expectEnd()
	h.stop(syscall.SIGTERM)
}

func unfinishedLine(t *testing.T, binary string) {
	h := startHandoff(t, binary)
	c := h.dial(t)
	c.send("\nwhole\nhalf a li")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.expect("\nwhole\n")
	c.expectEnd()
	h.stop(syscall.SIGTERM)
}

// lateAnswers resets connections whose lines are with the workers. Others come at once and may get their descriptors.
func lateAnswers(t *testing.T, binary string) {
	h := startHandoff(t, binary, "-delay", "2ms", "-workers", "8")
	for i := range 100 {
		gone := h.dial(t)
		gone.send(fmt.Sprintf("answer for the gone %d\nand another\n", i))
		if err := gone.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		gone.Close()
		c := h.dial(t)
		c.send(fmt.Sprintf("answer for %d\n", i))
		c.expect(fmt.Sprintf("answer for %d\n", i))
		c.Close()
	}
	for h.report().connections > 0 { // none is forgotten
	}
	h.stop(syscall.SIGTERM)
}

// slowReader sends without reading until the program stops to read, and then wants every answer.
func slowReader(t *testing.T, binary string) {
	h := startHandoff(t, binary)
	c := h.dial(t)
	line := strings.Repeat("y", 32<<10-1) + "\n"
	const most = 256 << 20
	sent := 0
	var err error
	for sent < most && err == nil {
		testkit.Must(t, c.SetWriteDeadline(time.Now().Add(time.Second))) // anew for each line: it passes when nothing moves
		var n int
		n, err = io.WriteString(c, line)
		sent += n
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes were taken without an answer read, and then %v", sent, err)
	}
	h.ask(t)
	testkit.Must(t, c.SetDeadline(time.Now().Add(patience)))
	var rest sync.WaitGroup
	defer rest.Wait()
	rest.Go(func() {
		if _, err := io.WriteString(c, line[sent%len(line):]); err != nil {
			t.Error(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	for range sent/len(line) + 1 {
		c.expect(line)
	}
	c.expectEnd()
	h.stop(syscall.SIGTERM)
}

func longLine(t *testing.T, binary string) {
	h := startHandoff(t, binary)
	longest := strings.Repeat("z", 64<<10-1)
	c := h.dial(t)
	c.send("first\n" + longest + "\nlast\n")
	c.expect("first\n" + longest + "\nlast\n")
	c.send(longest + "z")
	c.expectEnd()
	h.ask(t)
	h.stop(syscall.SIGTERM)
}

// besideEachOther would take sixteen times the delay if one line had to wait for the other.
func besideEachOther(t *testing.T, binary string) {
	const clients, delay = 16, 500 * time.Millisecond
	h := startHandoff(t, binary, "-workers", fmt.Sprint(clients), "-delay", delay.String())
	var all []*client
	for range clients {
		all = append(all, h.dial(t))
	}
	began := time.Now()
	for i, c := range all {
		c.send(fmt.Sprintln(i))
	}
	for i, c := range all {
		c.expect(fmt.Sprintln(i))
	}
	if took := time.Since(began); took < delay || took > clients*delay {
		t.Errorf("%d lines of %v took %v", clients, delay, took)
	}
	h.stop(syscall.SIGTERM)
}

func termFinishes(t *testing.T, binary string) {
	h := startHandoff(t, binary, "-workers", "1", "-delay", "100ms")
	c := h.dial(t)
	c.send("1\n2\n3\n4\n5\n") // one segment: a server that has read the first line has read them all
	c.expect("1\n")
	h.stop(syscall.SIGTERM)
	c.expect("2\n3\n4\n5\n")
	c.expectEnd()
}

func interruptIdle(t *testing.T, binary string) {
	h := startHandoff(t, binary)
	idle, half := h.dial(t), h.dial(t)
	half.send("whole\nhalf a li")
	half.expect("whole\n")
	idle.send("\n")
	idle.expect("\n")
	h.stop(syscall.SIGINT)
	idle.expectEnd()
	half.expectEnd()
}

func secondSignal(t *testing.T, binary string) {
	h := startHandoff(t, binary, "-delay", "1h", "-workers", "2")
	c := h.dial(t)
	c.send("never answered\n")
	for h.report().connections == 0 {
	}
	h.signal(syscall.SIGTERM)
	for { // until the first signal has been seen: the listener is closed then
		other, err := net.DialTimeout("tcp", h.addr, patience)
		if err != nil {
			break
		}
		other.Close()
	}
	h.signal(syscall.SIGTERM)
	if got, want := h.line("stopped: "), "1 connections cut, 0 answers lost"; got != want {
		t.Errorf("stopped with %s, want %s", got, want)
	}
	h.wait()
	c.expectEnd()
}

// outOfDescriptors has more clients than the program may have descriptors. Those that are left over wait in the kernel.
func outOfDescriptors(t *testing.T, binary string) {
	p := start(t, "/bin/sh", "-c", `ulimit -n 40 && exec "$0" -addr 127.0.0.1:0`, binary)
	h := &handoff{p, p.line("listening on ")}
	const clients = 80
	var all []*client
	for range clients {
		all = append(all, h.dial(t))
	}
	// More are there than descriptors. A loop that spins makes a hundred thousand turns in a second.
	for h.report().connections < 20 {
	}
	before := h.report()
	after := h.report()
	if turns := after.turns - before.turns; turns > 2000 {
		t.Errorf("%d turns between two reports, without a line served", turns)
	}
	if after.connections >= 40 {
		t.Errorf("%d connections with 40 descriptors", after.connections)
	}
	for i, c := range all { // in the order of arrival: each one that goes lets another in
		c.send(fmt.Sprintln(i))
		c.expect(fmt.Sprintln(i))
		c.Close()
	}
	h.stop(syscall.SIGTERM)
}

func reportCounts(t *testing.T, binary string) {
	h := startHandoff(t, binary, "-delay", "1ms")
	c := h.dial(t)
	for i := range 100 {
		c.send(fmt.Sprintln(i))
		c.expect(fmt.Sprintln(i))
	}
	r := h.report()
	for r.pushed < 100 {
		r = h.report()
	}
	if r.pushed != 100 || r.delivered != 100 || r.connections != 1 || r.longest != 1 {
		t.Errorf("after 100 lines of one connection: %+v", r)
	}
	// The client waits for each answer, so the loop sleeps until the worker wakes it, and reads again.
	if r.wakes == 0 || r.turns < 100 || r.callbacks < 200 || r.busy > 100 {
		t.Errorf("after 100 lines, one after the other: %+v", r)
	}
	h.stop(syscall.SIGTERM)
}

type report struct {
	turns, wakes, coalesced, callbacks uint64
	busy                               float64
	pushed, delivered, longest         uint64
	connections                        int
}

// report waits for the next one.
func (h *handoff) report() (r report) {
	h.t.Helper()
	line := h.line("turns ")
	format := "%d wakes %d coalesced %d callbacks %d busy %f%% pushed %d delivered %d longest %d connections %d"
	_, err := fmt.Sscanf(line, format, &r.turns, &r.wakes, &r.coalesced, &r.callbacks, &r.busy,
		&r.pushed, &r.delivered, &r.longest, &r.connections)
	if err != nil {
		h.t.Fatalf("report %q: %v", line, err)
	}
	return r
}

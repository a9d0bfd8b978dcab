package examples_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

func TestDispatcherAnswersByTimerAndFromElsewhere(t *testing.T) {
	p, addr := listening(t, build(t, "dispatcher"), "-work", "1ms")
	a, b := dial(t, addr), dial(t, addr)
	a.send("after 10ms tick\n")
	a.expectLines("tick")
	a.send("job for a\n")
	b.send("job for b\n")
	a.expectLines("for a")
	b.expectLines("for b")
	a.send("dance\nafter x y\nafter 1h x\nafter -1s x\nafter 60s never said\nafter 1s x\nafter\n")
	usage := "? after 50ms TEXT, at most 1m0s"
	a.expectLines("? after 50ms TEXT, or job TEXT", usage, usage, usage, "? one timer at a time", usage)
	if got := p.stop(a, b); got != "3 answers, 0 late" {
		t.Errorf("stopped with %s", got)
	}
}

// TestDispatcherServesConnectionsThatItMade has the program call the test.
func TestDispatcherServesConnectionsThatItMade(t *testing.T) {
	b := newBackend(t)
	p, _ := listening(t, build(t, "dispatcher"), "-call", b.Addr().String())
	there := b.take()
	there.send("after 0s by timer\n")
	there.expectLines("by timer")
	there.send("job from elsewhere\n")
	there.expectLines("from elsewhere")
	if got := p.stop(there); got != "2 answers, 0 late" {
		t.Errorf("stopped with %s", got)
	}
}

// TestDispatcherAnswersNoOtherClient has clients leave before their answers come. Others come at once and may get their descriptors.
func TestDispatcherAnswersNoOtherClient(t *testing.T) {
	const clients = 100
	p, addr := listening(t, build(t, "dispatcher"), "-work", "3ms")
	for i := range clients {
		gone := dial(t, addr)
		gone.send(fmt.Sprintf("after 5ms late %d\njob late %d\ndance\n", i, i))
		for !strings.HasPrefix(gone.readLine(), "? ") { // from then on both are begun
		}
		testkit.Must(t, gone.SetLinger(0))
		gone.Close()
		c := dial(t, addr)
		for _, text := range []string{"first", "second"} {
			c.send(fmt.Sprintf("job %s %d\n", text, i))
			c.expectLines(fmt.Sprint(text, " ", i))
		}
		c.Close()
	}
	var said, late int
	got := p.stop()
	if _, err := fmt.Sscanf(got, "%d answers, %d late", &said, &late); err != nil {
		t.Fatalf("stopped with %q: %v", got, err)
	}
	// The timer of a connection ends with it. The last job may not be done at the end.
	if said < 2*clients || late == 0 || said+late > 4*clients || said+late < 3*clients-1 {
		t.Errorf("of %d jobs of connections that stay open, and %d jobs and timers of others: %s", 2*clients, 2*clients, got)
	}
}

// TestDispatcherIsBusyBeforeItIsFull: a loop must not wait until there is room among the jobs.
func TestDispatcherIsBusyBeforeItIsFull(t *testing.T) {
	p, addr := listening(t, build(t, "dispatcher"), "-work", "1h")
	c := dial(t, addr)
	c.send(strings.Repeat("job x\n", 1010)) // 1000 wait, 4 are in progress
	for range 6 {
		c.expectLines("? busy")
	}
	if got := p.stop(c); got != "0 answers, 0 late" {
		t.Errorf("stopped with %s", got)
	}
}

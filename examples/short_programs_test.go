package examples_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestTimer wants the order that the program's comments promise; deadlines decide it, however slow the machine is.
func TestTimer(t *testing.T) {
	t.Parallel()
	got := output(t, build(t, "timer"))
	want := strings.Join([]string{"once", "tick 1", "tick 2", "tick 3", "tick 4", "tick 5", "idle", "done"}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestQueue(t *testing.T) {
	got := output(t, build(t, "queue"))
	var longest, left int
	format := "in order: [10000 10000 10000 10000] longest: %d left: %d"
	if n, err := fmt.Sscanf(got, format, &longest, &left); n != 2 {
		t.Fatalf("got %q: %v", got, err)
	}
	if longest < 1 || longest > 64 || left != 0 {
		t.Errorf("the queue of 64 was %d long, and %d were left in it", longest, left)
	}
}

func TestSignal(t *testing.T) {
	binary := build(t, "signal")
	for _, stop := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(stop.String(), func(t *testing.T) {
			p := start(t, binary)
			p.line("process ")
			for i := range 3 {
				p.signal(syscall.SIGHUP)
				if got, want := p.line("configuration read "), fmt.Sprint(i+1); got != want {
					t.Fatalf("read %s times, want %s", got, want)
				}
			}
			p.signal(stop)
			if got := p.line("stopping on "); got != stop.String() {
				t.Errorf("it says that %q stopped it", got)
			}
			p.line("done")
			p.wait()
		})
	}
}

// TestHandoffIsShort holds the promise that the whole server can be read in one go.
func TestHandoffIsShort(t *testing.T) {
	source, err := os.ReadFile("handoff/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), "\n"); n >= 150 {
		t.Errorf("%d lines, want less than 150", n)
	}
}

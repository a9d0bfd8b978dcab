//go:build !race

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Not with the race detector, whose own memory is many times as much.

// TestReplacedValuesDoNotDoubleTheMemory: a full cache takes a quarter more than -m, and 64 MB; collected by half of itself, as a
// program in Go is, it would take twice as much. The limit that cache_memlimit sets counts as well.
func TestReplacedValuesDoNotDoubleTheMemory(t *testing.T) {
	p := start(t, "-p", "-1", "-m", "64", "-c", "100")
	c := dial(t, "tcp", p.addrs[0])
	c.ask("cache_memlimit 400\r\n", "OK\r\n")
	for round := range 18 { // 60 MB each, of another size, so that no value finds the memory of an earlier one
		value := strings.Repeat("0123456789abcdef", (31+round)<<6)
		n := 60_000_000 / len(value)
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "set %d-%d 0 0 %d\r\n%s\r\n", round, i, len(value), value)
		}
		c.ask(b.String(), strings.Repeat("STORED\r\n", n))
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	must(t, err)
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(peak)[0])
	must(t, err)
	if most := 400 + 100 + 64 + 30; kb>>10 > most || kb>>10 < 300 {
		t.Errorf("the process took %d MB, want at most %d", kb>>10, most)
	}
	c.Close()
	p.end()
}

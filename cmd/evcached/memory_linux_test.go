//go:build !race

package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// Not with the race detector, whose own memory is many times as much.

// memoryOf returns a value of the process's status file, in megabytes.
func (p *running) memoryOf(t *testing.T, name string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	testkit.Must(t, err)
	_, rest, _ := strings.Cut(string(status), name+":")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	testkit.Must(t, err)
	return kb >> 10
}

// The resident memory exceeds the limit by at most a tenth and 16 MB while values from 10 bytes to 500 KB are stored and read, also after
// cache_memlimit has raised and lowered the limit.
func TestTheProcessStaysWithinATenthOfItsMemory(t *testing.T) {
	p := start(t, "-p", "-1", "-m", "64", "-c", "100")
	c := dial(t, "tcp", p.addrs[0])
	random := rand.New(rand.NewPCG(1, 2))
	bytes := strings.Repeat("0123456789abcdef", 500_000/16)
	churn := func(megabytes int) {
		for left := megabytes << 20; left > 0; {
			var requests, answers strings.Builder
			for range 20 {
				value := bytes[:int(10*math.Pow(50_000, random.Float64()))]
				key := random.IntN(20_000)
				fmt.Fprintf(&requests, "set %d 0 0 %d\r\n%s\r\nget %d\r\n", key, len(value), value, key)
				fmt.Fprintf(&answers, "STORED\r\nVALUE %d 0 %d\r\n%s\r\nEND\r\n", key, len(value), value)
				left -= len(value)
			}
			c.ask(requests.String(), answers.String())
		}
	}
	within := func(figure string, limit int) {
		t.Helper()
		if got := p.memoryOf(t, figure); got > limit+limit/10+16 || got < limit*3/4 {
			t.Errorf("%s is %d MB, the limit of the items %d", figure, got, limit)
		}
	}
	large := 96
	if testkit.Full() {
		large = 300
	}
	churn(100)
	within("VmHWM", 64)
	c.ask(fmt.Sprintf("cache_memlimit %d\r\n", large), "OK\r\n")
	churn(2 * large)
	within("VmHWM", large)
	c.ask("cache_memlimit 64\r\n", "OK\r\n")
	within("VmRSS", 64)
	churn(64)
	within("VmRSS", 64)
	c.Close()
	p.end()
}

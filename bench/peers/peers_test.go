//go:build linux

package peers_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/bench/internal/child"
	"github.com/evmq/evmq/bench/internal/peertest"
)

// eachVariant runs a test with all servers and modes.
func eachVariant(t *testing.T, test func(t *testing.T, v variant), framings ...string) {
	for _, v := range variants(framings...) {
		t.Run(v.String(), func(t *testing.T) { test(t, v) })
	}
}

// pieces sends data in pieces of random sizes, from a byte to several lines.
func pieces(c net.Conn, data []byte, random *rand.Rand) error {
	for len(data) > 0 {
		n := min(len(data), 1+random.IntN(1<<random.IntN(15)))
		if _, err := c.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// exchange sends data in pieces of random sizes and requires it back, byte by byte in order.
func exchange(t *testing.T, c net.Conn, data []byte, seed uint64) {
	sendAndExpect(t, c, data, func() error { return pieces(c, data, rand.New(rand.NewPCG(seed, 1))) })
}

// sendAndExpect requires data back while send sends it.
func sendAndExpect(t *testing.T, c net.Conn, data []byte, send func() error) {
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		if err := send(); err != nil {
			t.Error(err)
		}
	})
	got := make([]byte, len(data))
	if n, err := io.ReadFull(c, got); err != nil {
		t.Errorf("%d bytes of %d came back: %v", n, len(data), err)
	} else if !bytes.Equal(got, data) {
		t.Errorf("other bytes came back")
	}
}

// TestEveryByteComesBackInOrder over 50 connections at the same time, in lines that are split and merged.
func TestEveryByteComesBackInOrder(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		addr := start(t, v)
		var clients sync.WaitGroup
		defer clients.Wait()
		for i := range uint64(50) {
			c := dial(t, addr)
			random := rand.New(rand.NewPCG(i, 0))
			var data bytes.Buffer
			for line := 0; data.Len() < 100_000; line++ {
				fmt.Fprintf(&data, "%d %d %s\n", i, line, strings.Repeat("x", random.IntN(1<<random.IntN(14))))
			}
			clients.Go(func() { exchange(t, c, data.Bytes(), i) })
		}
	}, "raw", "line")
}

// TestOneRequestAtATimeIsAnswered as a client sends it that waits for each answer.
func TestOneRequestAtATimeIsAnswered(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		c := dial(t, start(t, v))
		for i := range 200 {
			want := fmt.Appendf(nil, "request %d\n", i)
			if _, err := c.Write(want); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("got %q and %v, want %q", got, err, want)
			}
		}
	}, "raw", "line")
}

// TestLargeMessageComesBack: it exceeds the buffers of the server and of the kernel.
func TestLargeMessageComesBack(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		size := 8 << 20
		if v.framing == "line" {
			size = 500_000
		}
		data := bytes.Repeat([]byte("0123456789abcdef"), size/16)
		data[len(data)-1] = '\n'
		exchange(t, dial(t, start(t, v)), data, 1)
	}, "raw", "line")
}

// TestIncompleteLineIsNotAnswered: the server waits for its end, also if the connection ends first.
func TestIncompleteLineIsNotAnswered(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		addr := start(t, v)
		c := dial(t, addr)
		if _, err := io.WriteString(c, "whole\nincomplete"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("whole\n"))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "whole\n" {
			t.Fatalf("got %q and %v", got, err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			t.Errorf("then %q came, and %v", rest, err)
		}
		exchange(t, dial(t, addr), []byte("next\n"), 1)
	}, "line")
}

// TestAnswersKeepTheirOrderIfRequestsAreSlow: lines are sent one by one, so that many arrive while an earlier one is in work.
func TestAnswersKeepTheirOrderIfRequestsAreSlow(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		c := dial(t, start(t, v, "-slow"))
		data := []byte(strings.Repeat("quick\nsleep 1ms\nsleep 1us\nspin 1us\nquick again\n", 40))
		sendAndExpect(t, c, data, func() error {
			for line := range bytes.Lines(data) {
				if _, err := c.Write(line); err != nil {
					return err
				}
				time.Sleep(50 * time.Microsecond) // so that the server rarely reads two lines at once
			}
			return nil
		})
	}, "line")
}

// TestClientsThatGoAwayCostNothing: they reset their connections or close them within a line, while requests and answers are under way. Then the
// server serves others, and is idle.
func TestClientsThatGoAwayCostNothing(t *testing.T) {
	eachVariant(t, func(t *testing.T, v variant) {
		t.Parallel()
		addr, pid := startProcess(t, v)
		request := []byte(strings.Repeat("request\n", 1000) + "incomplete")
		for i := range 60 {
			c := dial(t, addr)
			if _, err := c.Write(request); err != nil {
				t.Fatal(err)
			}
			if i%3 == 0 {
				if err := c.SetLinger(0); err != nil { // Close resets the connection
					t.Fatal(err)
				}
			}
			if i%3 == 1 {
				if _, err := c.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
			c.Close()
		}
		exchange(t, dial(t, addr), []byte("next\n"), 1)
		for deadline := time.Now().Add(patience); ; {
			const interval, most = 500 * time.Millisecond, 50 * time.Millisecond
			before, err := child.ProcessorTime(pid)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(interval)
			after, err := child.ProcessorTime(pid)
			if err != nil {
				t.Fatal(err)
			}
			if after-before < most {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("it used %v of processor time in %v without a client", after-before, interval)
			}
		}
	}, "raw", "line")
}

// TestSlowRequestsInThePoolDelayNoOtherConnection: a quick request is answered while others sleep for longer than the test waits.
func TestSlowRequestsInThePoolDelayNoOtherConnection(t *testing.T) {
	for _, v := range variants("line") {
		if v.mode != "pool" {
			continue
		}
		t.Run(v.String(), func(t *testing.T) {
			addr := start(t, v, "-slow")
			asleep := dial(t, addr)
			if _, err := io.WriteString(asleep, "first\nsleep 1h\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(asleep, make([]byte, len("first\n"))); err != nil {
				t.Fatal(err)
			}
			exchange(t, dial(t, addr), []byte("quick\n"), 1)
		})
	}
}

// TestOptionsThatALibraryLacksAreRefused and invalid ones.
func TestOptionsThatALibraryLacksAreRefused(t *testing.T) {
	for _, c := range []struct{ name, args, want string }{
		{"evio", "-mode pool", "-mode pool is not available"},
		{"net", "-loops 2", "-loops is not available"},
		{"gnet", "-mode other", "unknown -mode other"},
	} {
		out, err := exec.Command(peertest.Program(t, c.name), strings.Fields(c.args)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s %s ended with %v and printed %q", c.name, c.args, err, out)
		}
	}
}

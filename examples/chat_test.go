package examples_test

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// join comes into the room. Those who are there already hear of it.
func join(t *testing.T, addr, name string, others ...*client) *client {
	t.Helper()
	c := dial(t, addr)
	c.send(name + "\n")
	c.expectLines("* your name?", "* "+name+" has joined")
	for _, o := range others {
		o.expectLines("* " + name + " has joined")
	}
	return c
}

func TestChatSendsToAllAndToOne(t *testing.T) {
	p, addr := listening(t, build(t, "chat"))
	ann := join(t, addr, "ann")
	bob := join(t, addr, "bob", ann)
	eve := join(t, addr, "eve", ann, bob)
	all := []*client{ann, bob, eve}
	ann.send("hello\n/msg bob only you\n/who\n/msg zoe x\n/dance\nlast\x1b[2J\n")
	for _, c := range all {
		c.expectLines("ann: hello")
		if c == bob {
			c.expectLines("ann (private): only you")
		}
		if c == ann {
			c.expectLines("* sent to bob", "* here: ann bob eve", `* there is no member "zoe"`, "* /msg NAME TEXT, /who, /quit")
		}
		c.expectLines("ann: last[2J")
	}
	ann.send("/quit\nnever heard\n")
	ann.expectLines("* bye")
	ann.expectEnd()
	ann.Close()
	eve.Close()
	bob.expectLines("* ann has left", "* eve has left")
	// 6 joinings are heard, 7 lines of ann's and 3 ends of members; or eve is not there any more for the first of them.
	if got := p.stop(bob); got != "16 lines sent, 0 lost" && got != "15 lines sent, 0 lost" && got != "15 lines sent, 1 lost" {
		t.Errorf("stopped with %s", got)
	}
}

func TestChatWantsAValidUnusedName(t *testing.T) {
	p, addr := listening(t, build(t, "chat"))
	ann := join(t, addr, "ann")
	c := dial(t, addr)
	c.send("\nann\nwith blank\n" + strings.Repeat("x", 21) + "\nann2\n/who\n" + strings.Repeat("x", 1001) + "\n")
	rule := "* a name has 1 to 20 characters of A-Z a-z 0-9 _ -; try another one"
	c.expectLines("* your name?", rule, "* this name is in use; try another one", rule, rule, "* ann2 has joined", "* here: ann ann2",
		"* this line is too long; the limit is 1000 bytes")
	closeAtEnd(ann)
	p.stop(c)
}

// TestChatHasOneOrderForAll lets several members talk at once; all hear the same.
func TestChatHasOneOrderForAll(t *testing.T) {
	const members, each = 4, 50
	p, addr := listening(t, build(t, "chat"), "-buffer", "1000000", "-rate", "0")
	var all []*client
	for i := range members {
		all = append(all, join(t, addr, fmt.Sprint("m", i), all...))
	}
	for i, c := range all {
		var text strings.Builder
		for n := range each {
			fmt.Fprintln(&text, i, n)
		}
		c.send(text.String())
	}
	var first []string
	for i, c := range all {
		var heard []string
		for range members * each {
			heard = append(heard, c.readLine())
		}
		if i == 0 {
			first = heard
		}
		if a, b := strings.Join(first, "\n"), strings.Join(heard, "\n"); a != b {
			t.Fatalf("m0 heard\n%s\nand m%d\n%s", a, i, b)
		}
	}
	for i := range members {
		n := 0
		for _, line := range first {
			if line == fmt.Sprintf("m%d: %d %d", i, i, n) {
				n++
			}
		}
		if n != each {
			t.Errorf("of m%d %d lines were heard in their order", i, n)
		}
	}
	closeAtEnd(all...)
	if got, want := p.stop(), "lines sent, 0 lost"; !strings.HasSuffix(got, want) {
		t.Errorf("stopped with %s", got)
	}
}

// TestChatDropsAClientThatDoesNotRead has one member that never reads, and two that hear each line before the next is said.
func TestChatDropsAClientThatDoesNotRead(t *testing.T) {
	p, addr := listening(t, build(t, "chat"), "-rate", "0")
	ann := join(t, addr, "ann")
	bob := join(t, addr, "bob", ann)
	slow := dialSlowly(t, addr)
	slow.send("slow\n")
	for _, c := range []*client{ann, bob} {
		c.expectLines("* slow has joined")
	}
	text := strings.Repeat("x", 990)
	dropped := "* slow was disconnected: it does not read"
	const most = 100_000 // lines, far more than all buffers hold
	for said := 1; ; said++ {
		ann.send(text + "\n")
		if one, other := ann.readLine(), bob.readLine(); one == dropped || other == dropped {
			break
		} else if one != "ann: "+text || other != one {
			t.Fatalf("ann heard %.40q and bob %.40q", one, other)
		}
		if said == most {
			t.Fatalf("%d lines, and the member that does not read is still there", said)
		}
	}
	bob.send("/msg ann goodbye\n")
	for ann.readLine() != "bob (private): goodbye" {
	}
	for bob.readLine() != "* sent to ann" {
	}
	p.stop(ann, bob)
}

// dialSlowly connects with little room in its own kernel.
func dialSlowly(t *testing.T, addr string) *client {
	t.Helper()
	small := func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}
	c, err := (&net.Dialer{Timeout: patience, Control: small}).Dial("tcp", addr)
	testkit.Must(t, err)
	return newClient(t, c)
}

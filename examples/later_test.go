package examples_test

import (
	"syscall"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// A take is answered by another client's give, in order with the client's other lines. A client that has left delays no other.
func TestLater(t *testing.T) {
	p, addr := listening(t, build(t, "later"))
	taker, giver := dial(t, addr), dial(t, addr)
	giver.send("give fruit plum\n")
	giver.expectLines("none waits")
	taker.send("help\ntake fruit\nhelp\n")
	taker.expectLines("take NAME, give NAME TEXT")
	for !given(giver, "apple") { // the take may not have begun
		continue
	}
	taker.expectLines("apple", "take NAME, give NAME TEXT")

	gone := dial(t, addr)
	gone.send("help\ntake fruit\n")
	gone.expectLines("take NAME, give NAME TEXT")
	testkit.Must(t, gone.SetLinger(0))
	testkit.Must(t, gone.Close())
	taker.send("take fruit\n")
	taken := make(chan string)
	go func() {
		line, _ := taker.in.ReadString('\n') // if it fails, the line is not the expected one
		taken <- line
	}()
	for answered := false; !answered; given(giver, "pear") { // the first may go to the client that has left, before the server knows
		select {
		case line := <-taken:
			answered = true
			if line != "pear\n" {
				t.Errorf("the take is answered with %q", line)
			}
		default:
		}
	}
	testkit.Must(t, taker.Close())
	testkit.Must(t, giver.Close())
	p.signal(syscall.SIGTERM)
	p.wait()
}

// given sends a give, and reports whether a client has waited for it.
func given(c *client, text string) bool {
	c.send("give fruit " + text + "\n")
	return c.readLine() == "given"
}

// It is answered, and the client's next line, too.
func TestATakeThatWaitsForTooLongIsAnswered(t *testing.T) {
	p, addr := listening(t, build(t, "later"), "-wait", "1ms")
	c := dial(t, addr)
	c.send("take fruit\ngive fruit x\n")
	c.expectLines("timeout", "none waits")
	testkit.Must(t, c.Close())
	p.signal(syscall.SIGTERM)
	p.wait()
}

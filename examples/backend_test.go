package examples_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// Many clients at once each get their own answers. When the other server has ended, lines are answered with an error.
func TestBackend(t *testing.T) {
	other, otherAddr := listening(t, build(t, "echo"))
	p, addr := listening(t, build(t, "backend"), "-backend", otherAddr)
	var clients []*client
	for i := range 10 {
		c := dial(t, addr)
		clients = append(clients, c)
		for j := range 20 {
			c.send(fmt.Sprintf("client %d line %d\n", i, j))
		}
	}
	for i, c := range clients {
		for j := range 20 {
			c.expectLines(fmt.Sprintf("CLIENT %d LINE %d", i, j))
		}
		testkit.Must(t, c.Close())
	}
	other.signal(syscall.SIGTERM)
	other.wait()
	c := dial(t, addr)
	c.send("anyone?\n")
	if line := c.readLine(); !strings.HasPrefix(line, "error: ") {
		t.Errorf("the answer without another server is %q", line)
	}
	testkit.Must(t, c.Close())
	p.signal(syscall.SIGTERM)
	p.wait()
}

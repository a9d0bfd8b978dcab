package examples_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestConnectSendsItsInputAndPrintsTheAnswers uses the command that the README gives: it needs the answers to all lines, the last one of
// which ends with the input.
func TestConnectSendsItsInputAndPrintsTheAnswers(t *testing.T) {
	server, addr := listening(t, build(t, "echo"), "-mode", "workers", "-framing", "line")
	cmd := exec.CommandContext(t.Context(), build(t, "connect"), addr)
	cmd.Stdin = strings.NewReader("one\ntwo\nlast")
	out, err := cmd.CombinedOutput()
	if got, want := string(out), "one\ntwo\nlast\n"; err != nil || got != want {
		t.Errorf("printed %q and ended with %v, want %q", got, err, want)
	}
	server.stop()
}

func TestConnectReportsAnAddressWithoutAServer(t *testing.T) {
	b := newBackend(t)
	b.Close()
	out, err := exec.CommandContext(t.Context(), build(t, "connect"), b.Addr().String()).CombinedOutput()
	if err == nil || !strings.Contains(string(out), b.Addr().String()) {
		t.Errorf("printed %q and ended with %v, want an error that names the address", out, err)
	}
}

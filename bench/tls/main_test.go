//go:build linux

package main_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestComparesServersPerRequestAndPerConnection runs the program for a moment, on one core.
func TestComparesServersPerRequestAndPerConnection(t *testing.T) {
	binary := t.TempDir() + "/tls"
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, kind := range []string{"-handshakes=false", "-handshakes"} {
		out, err := exec.Command(binary, kind, "-client", "0", "-conns", "3", "-repeats", "1", "-time", "100ms").CombinedOutput()
		if err != nil || strings.Count(string(out), "median ratio") != 2 {
			t.Errorf("%s ended with %v and says\n%s", kind, err, out)
		}
	}
}

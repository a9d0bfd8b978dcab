//go:build linux

package main_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestEachServerHasItsMemoryMeasured runs the program with few connections.
func TestEachServerHasItsMemoryMeasured(t *testing.T) {
	binary := t.TempDir() + "/idletls"
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, args := range [][]string{{"-version", "1.3"}, {"-version", "1.2", "-bytes", "0", "-servers", "alone,loop"}} {
		out, err := exec.Command(binary, append(args, "-conns", "5,25")...).CombinedOutput()
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		want := 8
		if len(args) > 2 {
			want = 3
		}
		if err != nil || len(lines) != want {
			t.Errorf("%v: it ended with %v and says\n%s", args, err, out)
		}
	}
	for _, args := range [][]string{{"-conns", "5"}, {"-conns", "5,5"}, {"-version", "1.1"}, {"-bytes", "-1"}, {"-servers", "none"}} {
		if out, err := exec.Command(binary, args...).CombinedOutput(); err == nil {
			t.Errorf("%v: it says\n%s", args, out)
		}
	}
}

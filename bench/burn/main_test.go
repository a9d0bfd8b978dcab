//go:build linux

package main_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestEachRequestIsAnsweredBesideBurningHandlers runs the program for a moment.
func TestEachRequestIsAnsweredBesideBurningHandlers(t *testing.T) {
	binary := t.TempDir() + "/burn"
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	out, err := exec.Command(binary, "-burning", "2", "-time", "200ms", "-procs", "2,4").CombinedOutput()
	if err != nil || strings.Count(string(out), "of 100") != 2 {
		t.Errorf("it ended with %v, and the output is\n%s", err, out)
	}
}

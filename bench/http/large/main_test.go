package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestEachTransferIsMeasuredWithBothServers(t *testing.T) {
	program := filepath.Join(t.TempDir(), "large")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command(program, "-mb", "4", "-rounds", "1").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if lines := strings.Count(string(out), "server: user"); lines != 6 {
		t.Errorf("%d transfers: %s", lines, out)
	}
}

//go:build linux

package main_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestEachCacheIsReported runs the program for a moment with two caches.
func TestEachCacheIsReported(t *testing.T) {
	dir := t.TempDir()
	for binary, folder := range map[string]string{"churn": ".", "evcached": "../../cmd/evcached"} { // which is of another module
		build := exec.Command("go", "build", "-buildvcs=false", "-o", dir+"/"+binary, ".")
		build.Dir = folder
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
	}
	command := dir + "/evcached -l 127.0.0.1 -p {port} -m {m}"
	out, err := exec.Command(dir+"/churn", "-m", "32", "-time", "300ms", "a="+command, "b="+command).CombinedOutput()
	if err != nil || strings.Count(string(out), "get p50") != 2 {
		t.Errorf("it ended with %v, and the output is\n%s", err, out)
	}
}

//go:build linux

package main_test

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestALoopAnswersWhateverBeginsToCompute runs the program for a moment, in every combination. Goroutines that nothing interrupts would compute
// for 2 s, after which the answer would come.
func TestALoopAnswersWhateverBeginsToCompute(t *testing.T) {
	binary := t.TempDir() + "/compute"
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	out, err := exec.Command(binary, "-idle", "1ms,20ms", "-repeats", "2").CombinedOutput()
	if err != nil || strings.Count(string(out), "\n| ") != 4*(1+6*3) {
		t.Errorf("it ended with %v, and the output is\n%s", err, out)
	}
	for cell := range strings.SplitSeq(string(out), "|") {
		if _, worst, ok := strings.Cut(strings.TrimSpace(cell), " / "); ok {
			if ms, err := strconv.ParseFloat(worst, 64); err == nil && ms >= 2000 {
				t.Errorf("an answer took %v ms:\n%s", ms, out)
			}
		}
	}
}

//go:build linux

package child

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestProcessorTimeIsThatOfAllThreads of a process.
func TestProcessorTimeIsThatOfAllThreads(t *testing.T) {
	usage := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	const rounding = 50 * time.Millisecond
	for begun := usage(); ; {
		before := usage()
		got, err := ProcessorTime(os.Getpid())
		if after := usage(); err != nil || got < before-rounding || got > after+rounding {
			t.Fatalf("got %v and %v, want %v to %v", got, err, before, after)
		}
		if before-begun > 500*time.Millisecond {
			return
		}
	}
}

func TestProcessorTimeOfAnEndedProcessIsAnError(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if d, err := ProcessorTime(cmd.Process.Pid); err == nil {
		t.Errorf("got %v", d)
	}
}

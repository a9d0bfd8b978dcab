// Package leaktest fails the tests of a package if goroutines or descriptors are left after they have run.
package leaktest

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Main runs the tests, calls the functions in after, and then looks for goroutines and descriptors that are left. TestMain calls it. It does not
// return.
func Main(m *testing.M, after ...func()) {
	before := Descriptors()
	code := m.Run()
	for _, fn := range after {
		fn()
	}
	if code == 0 {
		if err := leftGoroutines(); err != nil {
			fmt.Fprintln(os.Stderr, "leaktest:", err)
			code = 1
		}
		if left := leftDescriptors(before); len(left) > 0 {
			fmt.Fprintln(os.Stderr, "leaktest: descriptors left open:", strings.Join(left, ", "))
			code = 1
		}
	}
	os.Exit(code)
}

// patience is the time after which the goroutines and descriptors that are left are taken for leaks. Those of a server whose loops were slow at
// its Close may end some time after it.
const patience = 3 * time.Minute

// leftGoroutines returns an error that names the goroutines that are left. It waits for those that are about to end.
func leftGoroutines() error {
	for deadline := time.Now().Add(patience); ; {
		if err := goleak.Find(); err == nil || time.Now().After(deadline) { // it waits for less than a second
			return err
		}
	}
}

// leftDescriptors returns the descriptors that were not open before. It waits for those that a goroutine is closing, and looks again and again,
// since the system reports no close.
func leftDescriptors(before map[string]string) []string {
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if left := Opened(before); len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// Opened returns the descriptors that are open and were not at an earlier call of Descriptors, each with its file.
func Opened(before map[string]string) (opened []string) {
	for fd, file := range Descriptors() {
		if before[fd] != file && !ours(file) {
			opened = append(opened, fd+" -> "+file)
		}
	}
	return opened
}

// ours reports whether the file belongs to the Go runtime, which opens its own poller and random source once and keeps
// them, to the testing package, or to the C library that the race detector needs: glibc reads the number of processors once, when many
// threads have allocated memory, on the thread that is the last of them, so at any time. The runtime's poller has the same name as a leaked one, so Descriptors makes the runtime open it
// before the first count.
func ours(file string) bool {
	return file == "/dev/urandom" || file == "/sys/devices/system/cpu/online" || strings.HasSuffix(file, "/testlog.txt")
}

// Descriptors returns the open files by number, on systems that list them.
func Descriptors() map[string]string {
	r, w, err := os.Pipe() // makes the runtime open its poller
	if err == nil {
		defer r.Close()
		defer w.Close()
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	open := map[string]string{}
	for _, e := range entries {
		file, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(file, "/proc/") && !mine(file, r, w) {
			open[e.Name()] = file
		}
	}
	return open
}

func mine(file string, ends ...*os.File) bool {
	for _, f := range ends {
		if f == nil {
			continue
		}
		if other, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); err == nil && other == file {
			return true
		}
	}
	return false
}

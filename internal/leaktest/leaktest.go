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
	before := descriptors()
	code := m.Run()
	for _, fn := range after {
		fn()
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
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

// leftDescriptors returns the descriptors that were not open before. It waits for some time for those that a goroutine is closing.
func leftDescriptors(before map[string]string) []string {
	var left []string
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left = left[:0]
		for fd, file := range descriptors() {
			if before[fd] != file && !ours(file) {
				left = append(left, fd+" -> "+file)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

// ours reports whether the file belongs to the Go runtime, which opens its own poller and random source once and keeps
// them, or to the testing package. The runtime's poller has the same name as a leaked one, so descriptors makes the runtime open it
// before the first count.
func ours(file string) bool {
	return file == "/dev/urandom" || strings.HasSuffix(file, "/testlog.txt")
}

// descriptors returns the open files by number, on systems that list them.
func descriptors() map[string]string {
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

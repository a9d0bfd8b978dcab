package leaktest_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/leaktest"
)

// A descriptor that was opened and is still open is named with its file. One that the C library opens is not a leak.
func TestOpenedNamesTheFiles(t *testing.T) {
	before := leaktest.Descriptors()
	open := func(name string) *os.File {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	open("/sys/devices/system/cpu/online")
	if got := leaktest.Opened(before); len(got) != 0 {
		t.Errorf("opened: %q, want none", got)
	}
	leak := open("/etc/passwd")
	if got := leaktest.Opened(before); len(got) != 1 || !strings.HasSuffix(got[0], " -> /etc/passwd") {
		t.Errorf("opened: %q, want /etc/passwd", got)
	}
	if err := leak.Close(); err != nil {
		t.Fatal(err)
	}
	if got := leaktest.Opened(before); len(got) != 0 {
		t.Errorf("opened after the close: %q", got)
	}
}

// A number that was open before counts as opened if it belongs to another file now.
func TestOpenedComparesFiles(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	before := leaktest.Descriptors()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("/etc/passwd") // gets the lowest number, that of r
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := leaktest.Opened(before); !slices.ContainsFunc(got, func(s string) bool { return strings.HasSuffix(s, " -> /etc/passwd") }) {
		t.Errorf("opened: %q, want /etc/passwd", got)
	}
}

//go:build linux || darwin || freebsd

package socktest_test

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/sock/socktest"
	"github.com/evmq/evmq/internal/testkit"
)

// outcomes makes all calls on several descriptors, in this order of them.
func outcomes(seed uint64, fds ...int) map[int][]any {
	f := socktest.Random(seed, &recorder{}, socktest.Rates{Again: 0.1, Interrupted: 0.1, Short: 0.2, Reset: 0.1, Pipe: 0.1, Full: 0.2, Aborted: 0.2})
	is := map[int][]any{}
	for range 50 {
		for _, fd := range fds {
			_, counts, errs := all(f, fd)
			for i := range counts {
				is[fd] = append(is[fd], counts[i], errs[i])
			}
		}
	}
	return is
}

func TestASeedDecidesWhateverTheOrder(t *testing.T) {
	one, other := outcomes(1, 5, 6, 7), outcomes(1, 7, 6, 5)
	for fd := range one {
		if !slices.Equal(one[fd], other[fd]) {
			t.Errorf("descriptor %d met other faults in another order", fd)
		}
	}
	if slices.Equal(one[5], outcomes(2, 5)[5]) || slices.Equal(one[5], one[6]) {
		t.Error("another seed or descriptor met the same faults")
	}
}

func TestRatesAreKept(t *testing.T) {
	const calls = 20_000
	f := socktest.Random(3, &recorder{}, socktest.Rates{Full: 0.2, Aborted: 0.1})
	met := map[error]float64{}
	for range calls {
		_, _, err := f.Accept(4)
		met[err] += 1.0 / calls
	}
	for err, want := range map[error]float64{nil: 0.7, unix.EMFILE: 0.1, unix.ENFILE: 0.1, unix.ECONNABORTED: 0.1} {
		if math.Abs(met[err]-want) > 0.02 { // six standard deviations; the seed is fixed
			t.Errorf("%v: %v of the calls, want %v", err, met[err], want)
		}
	}
	for range 100 {
		if _, err := f.Read(4, make([]byte, 9)); err != nil {
			t.Fatalf("a fault of Accept met Read: %v", err)
		}
	}
}

// Whatever is injected, bytes that a call says it moved did move, once and in order.
func TestRandomFaultsLoseNoBytes(t *testing.T) {
	var p [2]int
	if err := func() (err error) { p, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err }(); err != nil {
		t.Fatal(err)
	}
	for _, fd := range p {
		unix.CloseOnExec(fd)
		testkit.Must(t, unix.SetNonblock(fd, true))
		defer unix.Close(fd)
	}
	f := socktest.Random(4, &sock.Kernel{}, socktest.Rates{Again: 0.2, Interrupted: 0.2, Short: 0.4})
	want := bytes.Repeat([]byte("0123456789abcde"), 4000)
	var got []byte
	buf := make([]byte, 4096)
	for sent, turn := 0, 0; len(got) < len(want); turn++ {
		rest := want[sent:]
		write := func() (int, error) { return f.Write(p[0], rest[:min(len(rest), 2000)]) }
		if turn%2 == 1 {
			half := min(len(rest), 1000)
			write = func() (int, error) { return f.Writev(p[0], [][]byte{rest[:half], rest[half:min(len(rest), 2000)]}) }
		}
		n, err := write()
		sent += n
		tolerate(t, err)
		n, err = f.Read(p[1], buf)
		got = append(got, buf[:n]...)
		tolerate(t, err)
	}
	if !bytes.Equal(got, want) {
		t.Error("other bytes arrived than were written")
	}
	for _, name := range []socktest.Name{socktest.Read, socktest.Write, socktest.Writev} {
		if c := f.Counts(name); c.Errors == 0 || c.Shorts == 0 {
			t.Errorf("%s met no faults of a kind: %+v", name, c)
		}
	}
}

func tolerate(t *testing.T, err error) {
	t.Helper()
	if err != nil && err != unix.EAGAIN && err != unix.EINTR {
		t.Fatal(err)
	}
}

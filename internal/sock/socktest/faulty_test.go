//go:build linux || darwin || freebsd

package socktest_test

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/sock/socktest"
	"github.com/evmq/evmq/internal/testkit"
)

// recorder makes every call succeed, with all its bytes, and writes down what it was asked.
type recorder struct{ calls []string }

func (r *recorder) note(name string, n int) (int, error) {
	r.calls = append(r.calls, name)
	return n, nil
}

func (r *recorder) Read(_ int, p []byte) (int, error)  { return r.note("Read", len(p)) }
func (r *recorder) Write(_ int, p []byte) (int, error) { return r.note("Write", len(p)) }
func (r *recorder) Writev(_ int, bufs [][]byte) (int, error) {
	return r.note("Writev", len(bytes.Join(bufs, nil)))
}
func (r *recorder) Accept(int) (int, sock.Peer, error) {
	n, err := r.note("Accept", 9)
	return n, sock.Peer{}, err
}
func (r *recorder) SendFile(_, _ int, _ *int64, n int) (int, error) { return r.note("SendFile", n) }
func (r *recorder) Shutdown(int, int) error                         { return r.err("Shutdown") }
func (r *recorder) Close(int) error                                 { return r.err("Close") }
func (r *recorder) Connect(int, unix.Sockaddr) error                { return r.err("Connect") }
func (r *recorder) SockError(int) error                             { return r.err("SockError") }
func (r *recorder) SendTo(int, []byte, unix.Sockaddr) error         { return r.err("SendTo") }
func (r *recorder) RecvFrom(_ int, p []byte) (int, sock.Peer, error) {
	n, err := r.note("RecvFrom", len(p))
	return n, sock.Peer{}, err
}
func (r *recorder) SendMsg(int, []byte, sock.Peer, sock.Peer) error { return r.err("SendMsg") }
func (r *recorder) RecvMsg(_ int, p []byte) (n int, from, local sock.Peer, err error) {
	n, err = r.note("RecvMsg", len(p))
	return n, from, local, err
}

func (r *recorder) err(name string) error {
	_, err := r.note(name, 0)
	return err
}

// all makes each call on fd; those of bytes move 10. It is in the order of the names.
func all(c sock.Calls, fd int) (names []socktest.Name, counts []int, errs []error) {
	p, bufs := make([]byte, 10), [][]byte{make([]byte, 4), make([]byte, 6)}
	add := func(name socktest.Name, n int, err error) {
		names, counts, errs = append(names, name), append(counts, n), append(errs, err)
	}
	n, err := c.Read(fd, p)
	add(socktest.Read, n, err)
	n, err = c.Write(fd, p)
	add(socktest.Write, n, err)
	n, err = c.Writev(fd, bufs)
	add(socktest.Writev, n, err)
	n, _, err = c.Accept(fd)
	add(socktest.Accept, n, err)
	n, err = c.SendFile(fd, 0, new(int64), 10)
	add(socktest.SendFile, n, err)
	add(socktest.Shutdown, 0, c.Shutdown(fd, unix.SHUT_RD))
	add(socktest.Close, 0, c.Close(fd))
	add(socktest.Connect, 0, c.Connect(fd, nil))
	add(socktest.SockError, 0, c.SockError(fd))
	add(socktest.SendTo, 0, c.SendTo(fd, p, nil))
	n, _, err = c.RecvFrom(fd, p)
	add(socktest.RecvFrom, n, err)
	add(socktest.SendMsg, 0, c.SendMsg(fd, p, sock.Peer{}, sock.Peer{}))
	n, _, _, err = c.RecvMsg(fd, p)
	add(socktest.RecvMsg, n, err)
	return names, counts, errs
}

func TestWithoutFaultsEachCallReachesTheKernelOnce(t *testing.T) {
	inner := &recorder{}
	f := socktest.New(inner, func(socktest.Call) socktest.Fault { return socktest.Fault{} })
	names, counts, errs := all(f, 7)
	for i, name := range names {
		if inner.calls[i] != string(name) || errs[i] != nil {
			t.Errorf("%s reached %s: %v", name, inner.calls[i], errs[i])
		}
		if want := (socktest.Counts{Calls: 1}); f.Counts(name) != want {
			t.Errorf("%s: %+v", name, f.Counts(name))
		}
	}
	if len(inner.calls) != len(names) || f.Injected() != 0 || counts[2] != 10 {
		t.Errorf("%v, %d injected, counts %v", inner.calls, f.Injected(), counts)
	}
}

func TestAnErrorIsReturnedInsteadOfACallExceptClose(t *testing.T) {
	inner := &recorder{}
	f := socktest.New(inner, func(socktest.Call) socktest.Fault { return socktest.Fault{Err: unix.EIO, Limit: 1} })
	names, counts, errs := all(f, 7)
	for i, name := range names {
		if errs[i] != error(unix.EIO) || f.Counts(name) != (socktest.Counts{Calls: 1, Errors: 1}) {
			t.Errorf("%s: %v, %+v", name, errs[i], f.Counts(name))
		}
		if want := map[socktest.Name]int{socktest.Accept: -1}[name]; counts[i] != want {
			t.Errorf("%s beside an error: %d", name, counts[i])
		}
	}
	if len(inner.calls) != 1 || inner.calls[0] != "Close" {
		t.Errorf("the kernel was called: %v", inner.calls)
	}
}

func TestALimitCutsCallsOfBytes(t *testing.T) {
	for limit, want := range map[int]int{1: 1, 4: 4, 5: 5, 9: 9, 10: 10, 11: 10} {
		f := socktest.New(&recorder{}, func(socktest.Call) socktest.Fault { return socktest.Fault{Limit: limit} })
		names, counts, _ := all(f, 7)
		for i, name := range names {
			switch name {
			case socktest.Read, socktest.Write, socktest.Writev, socktest.SendFile:
				if short := f.Counts(name).Shorts == 1; counts[i] != want || short != (want < 10) {
					t.Errorf("%s with limit %d: %d, short %v", name, limit, counts[i], short)
				}
			case socktest.RecvFrom:
				if counts[i] != 10 {
					t.Errorf("a datagram was cut to %d", counts[i])
				}
			}
		}
	}
}

func TestCallsAreNumberedByNameAndDescriptor(t *testing.T) {
	var last socktest.Call
	f := socktest.New(&recorder{}, func(c socktest.Call) socktest.Fault { last = c; return socktest.Fault{} })
	for _, want := range []socktest.Call{
		{Name: socktest.Read, FD: 5, Number: 1}, {Name: socktest.Read, FD: 5, Number: 2}, {Name: socktest.Read, FD: 6, Number: 1},
		{Name: socktest.Write, FD: 5, Number: 1}, {Name: socktest.Read, FD: 5, Number: 3},
	} {
		if want.Name == socktest.Read {
			_, err := f.Read(want.FD, nil)
			testkit.Must(t, err)
		} else {
			_, err := f.Write(want.FD, nil)
			testkit.Must(t, err)
		}
		if last != want {
			t.Errorf("got %+v, want %+v", last, want)
		}
	}
}

package server_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// TestTheServerContinuesWithoutFreeDescriptors runs itself again in a process that may open few descriptors, so that this one keeps its limit.
func TestTheServerContinuesWithoutFreeDescriptors(t *testing.T) {
	t.Parallel()
	const key = "EVMQ_TEST_DESCRIPTORS"
	if os.Getenv(key) != "" {
		runsOutOfDescriptors(t)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*testkit.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestTheServerContinuesWithoutFreeDescriptors$")
	cmd.Env = append(os.Environ(), key+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// runsOutOfDescriptors uses up all descriptors: the server still serves its open connections, sends refusals, does not spin, and recovers.
func runsOutOfDescriptors(t *testing.T) {
	s := start(t, rigs()[0], &server.Server{BusyText: "busy\n", MaxConns: server.Unlimited, Handler: echoLines()})
	first := s.dial(t)
	testkit.Must(t, pipelined(first, "first", 1))
	lowerDescriptors(t, openDescriptors(t)+40)

	// A socket for each client of the shortage is made before it, and connected during it, which needs no descriptor.
	var waiting []int
	for range 8 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		testkit.Must(t, err)
		unix.CloseOnExec(fd)
		defer unix.Close(fd)
		waiting = append(waiting, fd)
	}
	var hoard []int
	for {
		fd, err := unix.Dup(0)
		if err == unix.EMFILE {
			break
		}
		testkit.Must(t, err)
		hoard = append(hoard, fd)
	}
	addr := &unix.SockaddrInet4{Port: s.addr.(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	for _, fd := range waiting {
		testkit.Must(t, unix.Connect(fd, addr))
	}
	refused := make([]byte, 64)
	if n, err := unix.Read(waiting[0], refused); err != nil || string(refused[:n]) != "busy\n" {
		t.Errorf("the first one in the shortage reads %q, %v", refused[:n], err)
	}
	testkit.Must(t, pipelined(first, "first", 100)) // open connections are served

	before := s.Stats()
	time.Sleep(500 * time.Millisecond) // in which a loop that spins makes a hundred thousand turns
	after := s.Stats()
	if turns := after.Loops[0].Loop.Turns - before.Loops[0].Loop.Turns; turns > 2000 {
		t.Errorf("the loop made %d turns in half a second of shortage", turns)
	}
	if after.Pauses == 0 || after.AcceptErrors == 0 || after.Refused == 0 {
		t.Errorf("%d pauses, %d errors of accept, %d refused", after.Pauses, after.AcceptErrors, after.Refused)
	}

	for _, fd := range hoard {
		testkit.Must(t, unix.Close(fd))
	}
	nc := s.dial(t)
	testkit.Must(t, pipelined(nc, "again", 10))
	hangUp(first, nc)
}

// lower lowers a limit, whose type differs between systems.
func lower[T int64 | uint64](limit *T, n int) { *limit = min(*limit, T(n)) }

func lowerDescriptors(t *testing.T, n int) {
	t.Helper()
	var lim unix.Rlimit
	testkit.Must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim))
	lower(&lim.Cur, n)
	testkit.Must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &lim))
}

package difftest_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"go.uber.org/goleak"
	// evcached is built of it: a change must make go test run the tests again.
	_ "github.com/evmq/evmq/memcache"
)

// binaries is the directory of the programs that the tests build.
var binaries string

func TestMain(m *testing.M) {
	// Parallel tests wait for the servers' clocks rather than for a processor.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	var err error
	if binaries, err = os.MkdirTemp("", "difftest"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(binaries); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}))
}

// testTimeout is the time after which a test fails if something that should happen at once has not happened.
const testTimeout = time.Minute

// version is the memcached that the scripts were recorded with.
const version = "1.6.18"

// memcached returns the path of memcached, or skips the test.
func memcached(t testing.TB) string {
	t.Helper()
	path := testkit.Program(t, "memcached")
	out, err := exec.Command(path, "-V").Output()
	testkit.Must(t, err)
	if found := strings.Fields(string(out)); len(found) != 2 || found[1] != version {
		if testkit.Foreign() {
			t.Fatalf("EVMQ_FOREIGN=1, and the memcached installed is %q, not %s", out, version)
		}
		t.Skipf("the memcached installed is %q; only %s is compared with", out, version)
	}
	return path
}

// evcached builds evcached, with the race detector if the tests have it.
var evcached = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(binaries, "evcached")
	args := []string{"build", "-buildvcs=false", "-o", path}
	if leaktest.Raced() {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "./cmd/evcached")...)
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/evcached: %w\n%s", err, out)
	}
	return path, nil
})

// A daemon is a running server.
type daemon struct {
	name, addr string
	cmd        *exec.Cmd
	ended      chan struct{} // closed when it has ended
	output     bytes.Buffer  // to be read when it has
	flusher    net.Conn      // flush's, if it has been called
}

// startMemcached starts memcached, or skips the test. It is killed when the test ends. Its thread that moves items is disabled: while it holds an item,
// decr replaces the item instead of padding it with spaces.
func startMemcached(t testing.TB, args ...string) *daemon {
	t.Helper()
	return start(t, memcached(t), append([]string{"-o", "no_lru_maintainer"}, args...)...)
}

// startEvcached starts evcached. It is killed when the test ends.
func startEvcached(t testing.TB, args ...string) *daemon {
	t.Helper()
	path, err := evcached()
	testkit.Must(t, err)
	return start(t, path, args...)
}

// start starts a server on a port that is free for TCP and UDP, which PORT stands for in the arguments, and waits until it answers.
func start(t testing.TB, path string, args ...string) *daemon {
	t.Helper()
	for attempt := 1; ; attempt++ {
		port := freePort(t)
		all := []string{"-l", "127.0.0.1", "-p", port, "-U", "0"}
		if os.Geteuid() == 0 {
			all = append(all, "-u", "nobody")
		}
		for _, arg := range args {
			all = append(all, strings.ReplaceAll(arg, "PORT", port))
		}
		d := launch(t, net.JoinHostPort("127.0.0.1", port), path, all...)
		if d.waits() {
			return d
		}
		if attempt == 3 { // another process may have taken the port meanwhile
			t.Fatalf("%s %s did not start:\n%s", path, strings.Join(all, " "), &d.output)
		}
	}
}

// launch starts a program. It is killed when the test ends.
func launch(t testing.TB, addr, path string, args ...string) *daemon {
	t.Helper()
	return launchCommand(t, addr, exec.Command(path, args...))
}

// launchCommand is launch for a command with another environment.
func launchCommand(t testing.TB, addr string, cmd *exec.Cmd) *daemon {
	t.Helper()
	d := &daemon{name: filepath.Base(cmd.Path), addr: addr, cmd: cmd, ended: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = &d.output, &d.output
	testkit.Must(t, d.cmd.Start())
	go func() {
		_ = d.cmd.Wait() // killed, mostly
		close(d.ended)
	}()
	t.Cleanup(func() {
		d.kill()
		if t.Failed() && d.output.Len() > 0 {
			t.Logf("%s says:\n%.100000s", d.name, &d.output)
		}
	})
	return d
}

// kill ends the program at once.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill() // says that it has ended, perhaps
	<-d.ended
}

// abort ends the program so that it prints its goroutines.
func (d *daemon) abort() {
	_ = d.cmd.Process.Signal(syscall.SIGQUIT) // says that it has ended, perhaps
	select {
	case <-d.ended:
	case <-time.After(testTimeout):
	}
}

// waits waits until the server accepts a connection, and reports whether it does.
func (d *daemon) waits() bool {
	for deadline := time.Now().Add(testTimeout); time.Now().Before(deadline); {
		nc, err := net.Dial("tcp", d.addr)
		if err == nil {
			return nc.Close() == nil
		}
		select {
		case <-d.ended:
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	return false
}

// given are the ports that tests have got.
var given sync.Map

// freePort returns a port of the loopback interface that is not in use, and that no other test gets. It is below those that the
// system gives to clients.
func freePort(t testing.TB) string {
	t.Helper()
	// No process may be started meanwhile: until it executes its program it holds copies of all descriptors, and would keep the port
	// of a listener that is closed here.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	for range 1000 {
		port := strconv.Itoa(12000 + rand.IntN(18000))
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		addr := net.JoinHostPort("127.0.0.1", port)
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		pc, err := net.ListenPacket("udp", addr)
		if err == nil {
			err = pc.Close()
		}
		if err := errors.Join(err, ln.Close()); err == nil {
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

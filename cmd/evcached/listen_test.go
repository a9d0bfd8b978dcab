//go:build linux || darwin || freebsd

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
)

const (
	askVersion = "version\r\n"
	isVersion  = "VERSION " + memcache.Version + "\r\n"
)

// refused runs a command line that must fail with a status, and returns its output.
func refused(t *testing.T, status int, args ...string) string {
	t.Helper()
	cmd := command(args...)
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != status {
		t.Fatalf("evcached %q: status %d, %v, want %d; it says:\n%s", args, got, err, status, out)
	}
	return string(out)
}

// askOnce connects, sends a request, checks the answer, and disconnects.
func askOnce(t *testing.T, network, addr, text, want string) {
	t.Helper()
	c := dial(t, network, addr)
	defer c.Close()
	c.ask(text, want)
}

// socketDir returns a directory whose name is short enough for unix sockets in it.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "evcached")
	testkit.Must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestWithoutOptionsItServesLoopback tests the default address.
func TestWithoutOptionsItServesLoopback(t *testing.T) {
	const addr = "127.0.0.1:11211"
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		t.Skipf("another server has %s: %v", addr, err)
	}
	testkit.Must(t, err)
	testkit.Must(t, l.Close())
	p := start(t)
	equal(t, "what it listens on", fmt.Sprint(p.addrs), "["+addr+"]")
	askOnce(t, "tcp", addr, askVersion+"set a 0 0 1\r\nb\r\nget a\r\n", isVersion+"STORED\r\nVALUE a 0 1\r\nb\r\nEND\r\n")
	p.end()
}

// TestItListensOnEveryAddress of several, with and without ports. All serve the same cache.
func TestItListensOnEveryAddress(t *testing.T) {
	p := start(t, "-p", "-1", "-l", "127.0.0.1,127.0.0.1:0", "-l", "localhost:0")
	if len(p.addrs) < 3 {
		t.Fatalf("it listens on %q", p.addrs)
	}
	for i, addr := range p.addrs {
		c := dial(t, "tcp", addr)
		c.ask("get key\r\n", []string{"END\r\n", "VALUE key 0 5\r\nvalue\r\nEND\r\n"}[min(i, 1)])
		c.ask("set key 0 0 5\r\nvalue\r\n", "STORED\r\n")
		c.Close()
	}
	p.end()
}

// TestABusyPortIsAnError that names the address and the reason.
func TestABusyPortIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer l.Close()
	addr := l.Addr().String()
	want := "evcached: listen tcp " + addr + ": bind: address already in use\n"
	equal(t, "what it says", refused(t, statusSystem, "-l", "127.0.0.1:0,"+addr), want)
}

// TestUDPIsServedWithOptionU sends a datagram: the number of the request, that of the datagram, the number of datagrams, and two reserved bytes.
func TestUDPIsServedWithOptionU(t *testing.T) {
	p := start(t, "-p", "-1", "-U", "-1")
	equal(t, "the number of sockets", len(p.addrs), 2)
	askUDP(t, p.addrs[1])
	p.end()
}

// askUDP sends a request repeatedly until there is an answer.
func askUDP(t *testing.T, addr string) {
	t.Helper()
	nc, err := net.Dial("udp", addr)
	testkit.Must(t, err)
	defer nc.Close()
	got := make([]byte, 1500)
	for tries := time.Now().Add(testTimeout); ; { // datagrams may be lost
		_, err = nc.Write([]byte("\x12\x34\x00\x00\x00\x01\x00\x00version\r\n"))
		testkit.Must(t, err)
		testkit.Must(t, nc.SetReadDeadline(time.Now().Add(time.Second)))
		n, err := nc.Read(got)
		if err == nil {
			equal(t, "the answer", string(got[:n]), "\x12\x34\x00\x00\x00\x01\x00\x00"+isVersion)
			break
		}
		if time.Now().After(tries) {
			t.Fatal("no datagram is answered")
		}
	}
}

// TestAUnixSocketHasItsModeAndIsRemovedAtTheEnd checks the file.
func TestAUnixSocketHasItsModeAndIsRemovedAtTheEnd(t *testing.T) {
	for mode, args := range map[fs.FileMode][]string{0o700: nil, 0o660: {"-a", "0660"}, 0o777: {"-a777"}} {
		file := filepath.Join(socketDir(t), "s")
		p := start(t, append(args, "-s", file)...)
		info, err := os.Stat(file)
		testkit.Must(t, err)
		equal(t, "the socket's mode", info.Mode(), mode|fs.ModeSocket)
		askOnce(t, "unix", file, askVersion, isVersion)
		p.end()
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Errorf("the socket is left behind: %v", err)
		}
	}
}

// TestOnlyAStaleSocketIsReplaced, and neither a socket on which a process listens, nor a file.
func TestOnlyAStaleSocketIsReplaced(t *testing.T) {
	file := filepath.Join(socketDir(t), "s")
	p := start(t, "-s", file)
	want := "evcached: -s " + file + ": another process listens on it\n"
	equal(t, "the error of the second process", refused(t, statusSystem, "-s", file), want)
	askOnce(t, "unix", file, askVersion, isVersion)
	p.signal(syscall.SIGKILL)
	p.wait()
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("nothing stale is there: %v", err)
	}
	p = start(t, "-s", file)
	askOnce(t, "unix", file, askVersion, isVersion)
	p.end()

	testkit.Must(t, os.WriteFile(file, []byte("precious"), 0o600))
	want = "evcached: -s " + file + ": a file of this name exists and is not a socket\n"
	equal(t, "what it says of a file", refused(t, statusSystem, "-s", file), want)
	kept, err := os.ReadFile(file)
	testkit.Must(t, err)
	equal(t, "the file", string(kept), "precious")
}

// TestTheSocketBelongsToTheUser of -u, and the process runs as that user. It needs root.
func TestTheSocketBelongsToTheUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can change its user")
	}
	const nobodyUID = 65534
	dir := socketDir(t)
	testkit.Must(t, os.Chown(dir, nobodyUID, nobodyUID))
	file, pid := filepath.Join(dir, "s"), filepath.Join(dir, "pid")
	p := start(t, "-u", "nobody", "-s", file, "-P", pid)
	for _, name := range []string{file, pid} {
		info, err := os.Stat(name)
		testkit.Must(t, err)
		equal(t, "the owner of "+name, info.Sys().(*syscall.Stat_t).Uid, nobodyUID)
	}
	if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid)); err == nil { // Linux has that
		for _, want := range []string{"\nUid:\t65534\t65534\t65534\t65534\n", "\nGid:\t65534\t65534\t65534\t65534\n", "\nGroups:\t65534 \n"} {
			if !bytes.Contains(status, []byte(want)) {
				t.Errorf("the process is\n%s\nwithout %q", status, want)
			}
		}
	}
	p.end()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	want := "evcached: -u no-such-user: user: unknown user no-such-user\n"
	equal(t, "the message about an unknown user", refused(t, statusNoUser, "-u", "no-such-user", "-s", file), want)
}

// TestVersionHasBothReleases: the second word, which programs compare with releases of memcached, is 1.6.18.
func TestVersionHasBothReleases(t *testing.T) {
	equal(t, "what -V says", version(), "evcached 1.6.18 (evmq "+memcache.Release()+")")
}

//go:build linux || darwin || freebsd

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// passing returns the program as a service manager starts it, with sockets from descriptor 3 on. The shell sets LISTEN_PID to the process id.
func passing(t *testing.T, names string, sockets []*os.File, args ...string) *exec.Cmd {
	t.Helper()
	program := command(args...)
	cmd := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, program.Path}, args...)...)
	cmd.Env = slices.Concat(program.Env, []string{"LISTEN_FDS=" + strconv.Itoa(len(sockets)), "LISTEN_FDNAMES=" + names})
	cmd.ExtraFiles = sockets
	return cmd
}

// filer is a socket of package net.
type filer interface{ File() (*os.File, error) }

// fileOf returns a duplicate of a socket, for a process to inherit.
func fileOf(t *testing.T, socket any) *os.File {
	t.Helper()
	f, err := socket.(filer).File()
	testkit.Must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func listenOn(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	testkit.Must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// TestPassedSocketsAreServedInsteadOfOwnOnes passes one socket of each kind. The TCP socket uses TLS, the one named notls does not.
func TestPassedSocketsAreServedInsteadOfOwnOnes(t *testing.T) {
	dir := socketDir(t)
	chain := filepath.Join(dir, "chain")
	config := trusting(t, writeCertificate(t, chain, chain))
	secure, bare := listenOn(t, "tcp", "127.0.0.1:0"), listenOn(t, "tcp", "127.0.0.1:0")
	local := listenOn(t, "unix", filepath.Join(dir, "s"))
	datagrams, err := net.ListenPacket("udp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer datagrams.Close()
	files := []*os.File{fileOf(t, secure), fileOf(t, bare), fileOf(t, local), fileOf(t, datagrams)}
	p := startCommand(t, passing(t, "tcp:notls:local:", files, "-v", "-Z", "-o", "ssl_chain_cert="+chain, "-p", "1", "-l", "203.0.113.1"))
	for _, name := range []string{"port", "listen"} {
		if want := "--" + name + " is ignored: the service manager has passed the sockets"; !strings.Contains(p.output(), want) {
			t.Errorf("the output does not have %q", want)
		}
	}
	equal(t, "what it listens on", fmt.Sprint(p.addrs), fmt.Sprint([]string{secure.Addr().String(), bare.Addr().String(),
		local.Addr().String(), datagrams.LocalAddr().String()}))
	if _, err := askByTLS(t, secure.Addr().String(), config); err != nil {
		t.Errorf("over TLS: %v", err)
	}
	askOnce(t, "tcp", bare.Addr().String(), askVersion, isVersion)
	askOnce(t, "unix", local.Addr().String(), askVersion, isVersion)
	c := dial(t, "tcp", bare.Addr().String())
	equal(t, "the port in stats settings", c.setting("tcpport"), strconv.Itoa(secure.Addr().(*net.TCPAddr).Port))
	equal(t, "the unix socket in stats settings", c.setting("domain_socket"), local.Addr().String())
	askUDP(t, datagrams.LocalAddr().String())
	p.end()
	if _, err := os.Stat(local.Addr().String()); err != nil {
		t.Errorf("the service manager's unix socket: %v", err)
	}
}

// A client that connects between two processes is served by the second.
func TestARestartOnPassedSocketsRefusesNoClient(t *testing.T) {
	l := listenOn(t, "tcp", "127.0.0.1:0")
	p := startCommand(t, passing(t, "", []*os.File{fileOf(t, l)}, "-v"))
	askOnce(t, "tcp", l.Addr().String(), askVersion, isVersion)
	p.end()
	between := dial(t, "tcp", l.Addr().String())
	p = startCommand(t, passing(t, "", []*os.File{fileOf(t, l)}, "-v"))
	between.ask(askVersion, isVersion)
	p.end()
}

// Sockets with another process in LISTEN_PID are ignored.
func TestSocketsOfAnotherProcessAreNotTaken(t *testing.T) {
	l := listenOn(t, "tcp", "127.0.0.1:0")
	cmd := command("-v", "-p", "-1")
	cmd.Env = append(cmd.Env, "LISTEN_FDS=1", "LISTEN_PID="+strconv.Itoa(os.Getpid()))
	cmd.ExtraFiles = []*os.File{fileOf(t, l)}
	p := startCommand(t, cmd)
	if p.addrs[0] == l.Addr().String() {
		t.Errorf("it listens on %s", p.addrs[0])
	}
	askOnce(t, "tcp", p.addrs[0], askVersion, isVersion)
	p.end()
}

// TestTheVariablesOfPassedSocketsAreNotForChildren runs in this process, to which none is passed.
func TestTheVariablesOfPassedSocketsAreNotForChildren(t *testing.T) {
	for _, pid := range []int{os.Getpid(), os.Getpid() + 1} {
		t.Setenv("LISTEN_PID", strconv.Itoa(pid))
		t.Setenv("LISTEN_FDS", "0")
		t.Setenv("LISTEN_FDNAMES", "a")
		files, err := takePassed()
		if err != nil || len(files) > 0 {
			t.Errorf("took %v, %v", files, err)
		}
		for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
			if value, there := os.LookupEnv(name); there {
				t.Errorf("%s is still %q", name, value)
			}
		}
	}
	t.Setenv("NOTIFY_SOCKET", "/x")
	n, err := takeNotifier()
	if _, there := os.LookupEnv("NOTIFY_SOCKET"); err != nil || n != "/x" || there {
		t.Errorf("took %q, %v; still there: %v", n, err, there)
	}
}

// TestPassedSocketsThatCannotBeServedAreRefused because of their kind or because of the options.
func TestPassedSocketsThatCannotBeServedAreRefused(t *testing.T) {
	dir := socketDir(t)
	users := filepath.Join(dir, "users")
	testkit.Must(t, os.WriteFile(users, []byte("a:b\n"), 0o600))
	tcp := listenOn(t, "tcp", "127.0.0.1:0")
	connected, err := net.Dial("tcp", tcp.Addr().String())
	testkit.Must(t, err)
	defer connected.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer udp.Close()
	local, err := net.ListenPacket("unixgram", filepath.Join(dir, "d"))
	testkit.Must(t, err)
	defer local.Close()
	file, err := os.Open(users)
	testkit.Must(t, err)
	defer file.Close()
	for _, row := range []struct {
		socket *os.File
		args   []string
		status int
		want   string
	}{
		{fileOf(t, connected), nil, statusSystem, "evcached: socket 3 (name) of the service manager: " + errNotListening.Error()},
		{fileOf(t, local), nil, statusSystem, "unixgram sockets are not served"},
		{file, nil, statusSystem, "socket operation on non-socket"},
		{fileOf(t, udp), []string{"-Y", users}, statusUsage, "-Y cannot protect UDP"},
		{fileOf(t, udp), []string{"-Z", "-o", "ssl_chain_cert=" + users}, statusUsage, "certificate"},
		{fileOf(t, tcp), []string{"-d"}, statusUsage, "-d cannot be combined with sockets from a service manager"},
	} {
		cmd := passing(t, "name", []*os.File{row.socket}, row.args...)
		out, _ := cmd.CombinedOutput() // the status says it
		if got := cmd.ProcessState.ExitCode(); got != row.status || !strings.Contains(string(out), row.want) {
			t.Errorf("%q: status %d, %q; want %d, %q", row.args, got, out, row.status, row.want)
		}
	}
	cmd := passing(t, "", nil)
	cmd.Env = append(cmd.Env, "LISTEN_FDS=many")
	out, _ := cmd.CombinedOutput()
	equal(t, "the error for LISTEN_FDS=many", string(out), "evcached: LISTEN_FDS: \"many\" is not a number from 0 to 1024\n")
}

// The service manager is notified of the states, as a unit with Type=notify requires.
func TestTheServiceManagerIsNotifiedOfTheState(t *testing.T) {
	name := filepath.Join(socketDir(t), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	testkit.Must(t, err)
	defer manager.Close()
	testkit.Must(t, manager.SetDeadline(time.Now().Add(testTimeout)))
	state := func() string {
		got := make([]byte, 100)
		n, err := manager.Read(got)
		testkit.Must(t, err)
		return string(got[:n])
	}
	cmd := command("-v", "-p", "-1")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+name)
	p := startCommand(t, cmd)
	equal(t, "the first state", state(), "READY=1")
	p.signal(syscall.SIGTERM)
	equal(t, "the second state", state(), "STOPPING=1")
	equal(t, "the status", p.wait(), 0)

	cmd = command("-v", "-p", "-1")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+name+".gone") // an error does not prevent it from serving
	p = startCommand(t, cmd)
	p.line("notify the service manager of READY=1")
	askOnce(t, "tcp", p.addrs[0], askVersion, isVersion)
	p.end()
}

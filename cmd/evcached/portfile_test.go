//go:build linux || darwin || freebsd

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// withPorts returns a command that writes its ports to a file.
func withPorts(t *testing.T, file string, args ...string) *running {
	t.Helper()
	cmd := command(append([]string{"-v"}, args...)...)
	cmd.Env = append(cmd.Env, portFileEnv+"="+file)
	return startCommand(t, cmd)
}

// TestPortsAreWrittenToTheFileInTheEnvironment, TCP first, in the format of memcached. The former content is replaced.
func TestPortsAreWrittenToTheFileInTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ports")
	testkit.Must(t, os.WriteFile(file, []byte("old\n"), 0o600))
	p := withPorts(t, file, "-p", "-1", "-U", "-1", "-l", "127.0.0.1:0,127.0.0.1")
	var want [2]string
	for i, addr := range p.addrs { // streams first
		_, port, err := net.SplitHostPort(addr)
		testkit.Must(t, err)
		want[i/2] += []string{"TCP", "UDP"}[i/2] + " INET: " + port + "\n"
	}
	text, err := os.ReadFile(file)
	testkit.Must(t, err)
	equal(t, "the file", string(text), want[0]+want[1])
	p.end()
	left, err := os.ReadDir(dir)
	testkit.Must(t, err)
	equal(t, "what is left when the program has ended", fmt.Sprint(left), "[- ports]")
}

// TestAPortFileThatCannotBeWrittenIsReported, and the server runs.
func TestAPortFileThatCannotBeWrittenIsReported(t *testing.T) {
	p := withPorts(t, filepath.Join(t.TempDir(), "none", "ports"), "-p", "-1")
	if !strings.Contains(p.output(), "none/ports.lck: no such file or directory") {
		t.Errorf("the output is %q", p.output())
	}
	askOnce(t, "tcp", p.addrs[0], askVersion, isVersion)
	p.end()
}

// TestAPortFileThatIsNotARegularFileIsNotReplaced but written to: here a pipe. A device would be lost if it were replaced.
func TestAPortFileThatIsNotARegularFileIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ports")
	testkit.Must(t, syscall.Mkfifo(file, 0o600))
	reader, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	testkit.Must(t, err)
	defer reader.Close()
	p := withPorts(t, file, "-p", "-1")
	_, port, err := net.SplitHostPort(p.addrs[0])
	testkit.Must(t, err)
	text := make([]byte, 100)
	n, err := reader.Read(text)
	testkit.Must(t, err)
	equal(t, "the pipe", string(text[:n]), "TCP INET: "+port+"\n")
	left, err := os.ReadDir(dir)
	testkit.Must(t, err)
	equal(t, "what is in the directory", fmt.Sprint(left), "[p ports]")
	p.end()
}

// TestAUnixSocketHasNoPortFile checks that none is written.
func TestAUnixSocketHasNoPortFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ports")
	p := withPorts(t, file, "-s", filepath.Join(socketDir(t), "s"))
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is there: %v", err)
	}
	p.end()
}

// TestOnlyInternetAddressesHaveAPortLine, with the family of the address.
func TestOnlyInternetAddressesHaveAPortLine(t *testing.T) {
	for addr, want := range map[net.Addr]string{
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5}:        "TCP INET: 5\n",
		&net.TCPAddr{IP: net.IPv6loopback, Port: 5}:              "TCP INET6: 5\n",
		&net.UDPAddr{IP: net.ParseIP("fe80::1"), Port: 65535}:    "UDP INET6: 65535\n",
		&net.UDPAddr{IP: net.IPv4zero, Port: 11211, Zone: ""}:    "UDP INET: 11211\n",
		&net.UnixAddr{Name: "/run/evcached/socket", Net: "unix"}: "",
	} {
		equal(t, addr.String(), portLine(addr), want)
	}
}

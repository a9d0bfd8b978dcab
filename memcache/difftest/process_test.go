package difftest_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// TestPortsAreWrittenAsByMemcached to the file of MEMCACHED_PORT_FILENAME, for ports that the system chooses.
func TestPortsAreWrittenAsByMemcached(t *testing.T) {
	t.Parallel()
	path, err := evcached()
	testkit.Must(t, err)
	var files [2]string
	for i, path := range []string{memcached(t), path} {
		file := filepath.Join(t.TempDir(), "ports")
		testkit.Must(t, os.WriteFile(file, []byte("old\n"), 0o600))
		args := []string{"-l", "127.0.0.1:0,127.0.0.1", "-p", "-1", "-U", "-1"}
		if os.Geteuid() == 0 {
			args = append(args, "-u", "root")
		}
		cmd := exec.Command(path, args...)
		cmd.Env = append(os.Environ(), "MEMCACHED_PORT_FILENAME="+file)
		d := launchCommand(t, "", cmd)
		text := "old\n"
		for deadline := time.Now().Add(testTimeout); text == "old\n" && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			p, err := os.ReadFile(file)
			testkit.Must(t, err)
			text = string(p)
		}
		for line := range strings.Lines(text) {
			port := line[strings.LastIndex(line, " ")+1 : len(line)-1]
			if nc, err := net.Dial(strings.ToLower(line[:3]), net.JoinHostPort("127.0.0.1", port)); err != nil {
				t.Errorf("%s: %q: %v", d.name, line, err)
			} else {
				testkit.Must(t, nc.Close())
			}
		}
		files[i] = regexp.MustCompile(`\d+\n`).ReplaceAllString(text, "N\n")
	}
	equal(t, files[1], files[0])
}

// TestSignalsEndTheServerWithStatus0, whatever its clients do.
func TestSignalsEndTheServerWithStatus0(t *testing.T) {
	t.Parallel()
	clients := map[string]func(*testing.T, net.Conn){
		"idle":     func(t *testing.T, nc net.Conn) { converse(t, nc, "mn\r\n", "MN\r\n") },
		"silent":   func(*testing.T, net.Conn) {},
		"unread":   readNothing,
		"in-value": func(t *testing.T, nc net.Conn) { converse(t, nc, "mn\r\nset k 0 0 100000\r\nx", "MN\r\n") },
	}
	for name, client := range clients {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1} {
			for _, d := range []*daemon{startMemcached(t), startEvcached(t)} {
				t.Run(fmt.Sprintf("%s/%s/%s", d.name, name, sig), func(t *testing.T) {
					nc, err := net.Dial("tcp", d.addr)
					testkit.Must(t, err)
					defer nc.Close()
					testkit.Must(t, nc.SetDeadline(time.Now().Add(testTimeout)))
					client(t, nc)
					endsWith0(t, d, sig)
				})
			}
		}
	}
	for _, d := range []*daemon{startMemcached(t), startEvcached(t)} {
		t.Run(d.name+"/no-client", func(t *testing.T) { endsWith0(t, d, syscall.SIGTERM) })
	}
}

// endsWith0 sends the signal, and expects exit status 0.
func endsWith0(t *testing.T, d *daemon, sig syscall.Signal) {
	t.Helper()
	testkit.Must(t, d.cmd.Process.Signal(sig))
	select {
	case <-d.ended:
		equal(t, d.cmd.ProcessState.ExitCode(), 0)
	case <-time.After(testTimeout):
		t.Error("the process is still running")
	}
}

// converse sends a request and reads its answer.
func converse(t *testing.T, nc net.Conn, request, answer string) {
	t.Helper()
	_, err := io.WriteString(nc, request)
	testkit.Must(t, err)
	got := make([]byte, len(answer))
	_, err = io.ReadFull(nc, got)
	testkit.Must(t, err)
	equal(t, string(got), answer)
}

// readNothing requests more than the sockets hold. It waits until the answers begin, and leaves the rest unread.
func readNothing(t *testing.T, nc net.Conn) {
	t.Helper()
	value := strings.Repeat("x", 500_000)
	converse(t, nc, "set k 0 0 500000\r\n"+value+"\r\n", "STORED\r\n")
	_, err := io.WriteString(nc, strings.Repeat("get k\r\n", 100))
	testkit.Must(t, err)
	_, err = io.ReadFull(nc, make([]byte, 1))
	testkit.Must(t, err)
}

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
)

// TestPortsAreWrittenAsMemcachedWritesThem to the file of MEMCACHED_PORT_FILENAME, for ports that the system chooses.
func TestPortsAreWrittenAsMemcachedWritesThem(t *testing.T) {
	t.Parallel()
	path, err := evcached()
	must(t, err)
	var files [2]string
	for i, path := range []string{memcached(t), path} {
		file := filepath.Join(t.TempDir(), "ports")
		must(t, os.WriteFile(file, []byte("old\n"), 0o600))
		args := []string{"-l", "127.0.0.1:0,127.0.0.1", "-p", "-1", "-U", "-1"}
		if os.Geteuid() == 0 {
			args = append(args, "-u", "root")
		}
		cmd := exec.Command(path, args...)
		cmd.Env = append(os.Environ(), "MEMCACHED_PORT_FILENAME="+file)
		d := launchCommand(t, "", cmd)
		text := "old\n"
		for deadline := time.Now().Add(patience); text == "old\n" && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			p, err := os.ReadFile(file)
			must(t, err)
			text = string(p)
		}
		for line := range strings.Lines(text) {
			port := line[strings.LastIndex(line, " ")+1 : len(line)-1]
			if nc, err := net.Dial(strings.ToLower(line[:3]), net.JoinHostPort("127.0.0.1", port)); err != nil {
				t.Errorf("%s: %q: %v", d.name, line, err)
			} else {
				must(t, nc.Close())
			}
		}
		files[i] = regexp.MustCompile(`\d+\n`).ReplaceAllString(text, "N\n")
	}
	equal(t, files[1], files[0])
}

// TestSignalsEndTheServerWithStatus0 whatever its clients do.
func TestSignalsEndTheServerWithStatus0(t *testing.T) {
	t.Parallel()
	for _, clients := range []string{"no client", "an idle client"} {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1} {
			for _, d := range []*daemon{startMemcached(t), startEvcached(t)} {
				t.Run(fmt.Sprintf("%s/%s/%s", d.name, strings.ReplaceAll(clients, " ", "-"), sig), func(t *testing.T) {
					if clients == "an idle client" {
						nc, err := net.Dial("tcp", d.addr)
						must(t, err)
						defer nc.Close()
						_, err = io.WriteString(nc, "mn\r\n")
						must(t, err)
						_, err = io.ReadFull(nc, make([]byte, len("MN\r\n")))
						must(t, err)
					}
					must(t, d.cmd.Process.Signal(sig))
					select {
					case <-d.ended:
						equal(t, d.cmd.ProcessState.ExitCode(), 0)
					case <-time.After(patience):
						t.Error("the process is still running")
					}
				})
			}
		}
	}
}

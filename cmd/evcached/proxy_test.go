//go:build linux || darwin || freebsd

package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// proxyConfig is the configuration in docs/evcached.md with other addresses.
func proxyConfig(t *testing.T, listen string, servers []string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/evcached.md")
	testkit.Must(t, err)
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	config, _, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("the page shows no configuration")
	}
	replace := []string{"127.0.0.1:22121", listen}
	for i, addr := range servers {
		replace = append(replace, fmt.Sprintf("10.0.0.%d:11211", i+1), addr)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(config, replace[i]) {
			t.Fatalf("the configuration does not name %s", replace[i])
		}
	}
	return strings.NewReplacer(replace...).Replace(config)
}

// freePort returns a TCP port that was free when it was called.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	testkit.Must(t, err)
	return port
}

// startProxy starts twemproxy in front of the servers, and returns its address.
func startProxy(t *testing.T, servers []string) (addr string) {
	t.Helper()
	nutcracker := testkit.Program(t, "nutcracker")
	dir := t.TempDir()
	addr = "127.0.0.1:" + freePort(t)
	file := filepath.Join(dir, "nutcracker.yml")
	testkit.Must(t, os.WriteFile(file, []byte(proxyConfig(t, addr, servers)), 0o600))
	log := filepath.Join(dir, "log")
	proxy := exec.Command(nutcracker, "-c", file, "-a", "127.0.0.1", "-s", freePort(t), "-o", log, "-p", filepath.Join(dir, "pid"))
	testkit.Must(t, proxy.Start())
	t.Cleanup(func() {
		_ = proxy.Process.Kill() // says that it has ended, mostly
		_ = proxy.Wait()         // killed
		if text, err := os.ReadFile(log); t.Failed() && err == nil {
			t.Logf("twemproxy's log:\n%s", text)
		}
	})
	eventually(t, "the proxy listens", func() bool {
		nc, err := net.DialTimeout("tcp", addr, testTimeout)
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
	return addr
}

// TestThreeServersBehindAProxyAreOneCache distributes keys by the configuration in the documentation, and continues with two servers.
func TestThreeServersBehindAProxyAreOneCache(t *testing.T) {
	var caches []*running
	var addrs []string
	for range 3 {
		p := start(t, "-p", "-1")
		caches, addrs = append(caches, p), append(addrs, p.addrs[0])
	}
	const keys = 300
	c := dial(t, "tcp", startProxy(t, addrs))
	many := "get"
	for i := range keys {
		c.ask(fmt.Sprintf("set key-%d 0 0 5\r\n%05d\r\n", i, i), "STORED\r\n")
		many += fmt.Sprintf(" key-%d", i)
	}
	for i := range keys {
		c.ask(fmt.Sprintf("get key-%d\r\n", i), fmt.Sprintf("VALUE key-%d 0 5\r\n%05d\r\nEND\r\n", i, i))
	}
	_, err := io.WriteString(c, many+"\r\n")
	testkit.Must(t, err)
	found := 0
	for line := ""; line != "END\r\n"; {
		line, err = c.in.ReadString('\n')
		testkit.Must(t, err)
		if strings.HasPrefix(line, "VALUE ") {
			found++
		}
	}
	equal(t, "the number of values of one get", found, keys)

	held := 0
	for i, addr := range addrs {
		n := heldBy(t, addr, keys)
		if held += n; n < keys/10 {
			t.Errorf("server %d holds %d keys of %d", i, n, keys)
		}
	}
	equal(t, "the number of keys on all servers", held, keys)

	caches[0].signal(syscall.SIGKILL)
	caches[0].wait()
	again := dial(t, "tcp", c.RemoteAddr().String())
	for i := range keys { // the proxy fails twice before it leaves the dead one out
		store := fmt.Sprintf("set key-%d 0 0 3\r\nnew\r\n", i)
		storeUntilTaken(t, again, store)
	}
	for i := range keys {
		again.ask(fmt.Sprintf("get key-%d\r\n", i), fmt.Sprintf("VALUE key-%d 0 3\r\nnew\r\nEND\r\n", i))
	}
}

// heldBy returns how many of the keys the server at addr holds.
func heldBy(t *testing.T, addr string, keys int) (n int) {
	t.Helper()
	own := dial(t, "tcp", addr)
	defer own.Close()
	for i := range keys {
		_, err := fmt.Fprintf(own, "get key-%d\r\n", i)
		testkit.Must(t, err)
		line, err := own.in.ReadString('\n')
		testkit.Must(t, err)
		if line != "END\r\n" {
			n++
			for range 2 { // the value, and END
				_, err = own.in.ReadString('\n')
				testkit.Must(t, err)
			}
		}
	}
	return n
}

// storeUntilTaken sends a request to store a value until it is answered with STORED.
func storeUntilTaken(t *testing.T, c *client, store string) {
	t.Helper()
	for tries := time.Now().Add(testTimeout); ; {
		_, err := io.WriteString(c, store)
		testkit.Must(t, err)
		line, err := c.in.ReadString('\n')
		testkit.Must(t, err)
		if line == "STORED\r\n" {
			return
		}
		if time.Now().After(tries) {
			t.Fatalf("with one server gone, %q is answered with %q", store, line)
		}
	}
}

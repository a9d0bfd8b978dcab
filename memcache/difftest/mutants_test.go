package difftest_test

import (
	"bytes"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache/difftest"
)

// mutants are servers that differ from memcached in one respect: change modifies each piece of its answers. The script is one that must detect it.
var mutants = []struct {
	name, script string
	change       func([]byte) []byte
}{
	{"not stored is stored", "storage", replacing("NOT_STORED", "STORED")},
	{"a space too much", "meta", replacing("HD\r\n", "HD \r\n")},
	{"a line end too short", "storage", replacing("END\r\n", "END\n")},
	{"another text", "refused", replacing("bad data chunk", "bad data")},
	{"one unique number for all", "storage", rewriting(`(VALUE \w+ \d+ \d+) \d+`, "$1 5")},
	{"a time to live that is two seconds off", "meta", rewriting(` t100\b`, " t102")},
	{"every client wins", "meta", rewriting(` Z\b`, " W")},
	{"flags of another item", "storage", rewriting(`(VALUE \w+) 7`, "$1 8")},
	{"no padding", "numbers", replacing("9 \r\n", "9\r\n")},
	{"another status", "binary", replacing("\x00\x02\x00\x00\x00\x14\x00", "\x00\x05\x00\x00\x00\x14\x00")},
	{"no opaque", "binary", replacing("\xff\xff\xff\xff", "\x00\x00\x00\x00")},
	{"quiet misses answered", "meta", replacing("MN\r\n", "EN\r\nMN\r\n")},
}

func replacing(old, with string) func([]byte) []byte {
	return func(p []byte) []byte { return bytes.ReplaceAll(p, []byte(old), []byte(with)) }
}

func rewriting(pattern, with string) func([]byte) []byte {
	re := regexp.MustCompile(pattern)
	return func(p []byte) []byte { return re.ReplaceAll(p, []byte(with)) }
}

// mutate runs a server that forwards modified answers of d.
func mutate(t *testing.T, d *daemon, change func([]byte) []byte) *daemon {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return // closed
			}
			conns.Go(func() { between(nc, d.addr, change) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		conns.Wait()
	})
	return &daemon{name: "mutant", addr: ln.Addr().String(), cmd: d.cmd}
}

// between forwards bytes in both directions until both sides have ended.
func between(client net.Conn, addr string, change func([]byte) []byte) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return // which is a difference
	}
	defer server.Close()
	var up sync.WaitGroup
	up.Go(func() {
		io.Copy(server, client)
		server.(*net.TCPConn).CloseWrite()
	})
	buffer := make([]byte, 1<<20)
	for err == nil {
		var n int
		n, err = server.Read(buffer)
		client.Write(change(buffer[:n]))
	}
	client.(*net.TCPConn).CloseWrite()
	client.(*net.TCPConn).CloseRead()
	up.Wait()
}

// TestScriptsDetectMutants checks that a script detects each server that differs.
func TestScriptsDetectMutants(t *testing.T) {
	t.Parallel()
	d := startMemcached(t)
	all := scripts(t)
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			mutant := mutate(t, d, m.change)
			for _, g := range all[m.script].Groups {
				flush(t, d)
				if stepwiseUnless(t, mutant, g) != "" {
					return
				}
			}
			t.Errorf("script %s does not see it", m.script)
		})
	}
}

// stepwiseUnless is stepwise, except for groups that wait for something late or absent.
func stepwiseUnless(t *testing.T, d *daemon, g difftest.Group) string {
	for _, step := range g.Steps {
		if step.Conn != "" || len(step.Want) == 0 {
			return ""
		}
	}
	if g.Second {
		return "" // or the end of a second could pass for a mutant that is caught
	}
	return stepwise(t, d, g)
}

// TestTheGeneratorDetectsMutants by a few hundred random scripts, and Shrink makes the script short.
func TestTheGeneratorDetectsMutants(t *testing.T) {
	t.Parallel()
	d := startMemcached(t)
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			diff := firstDifference(t, d, mutate(t, d, m.change), 1, 2000)
			if diff == "" {
				t.Fatal("no script sees it")
			}
			if n := strings.Count(diff, "> "); n > 8 {
				t.Errorf("the smallest script has %d lines:\n%s", n, diff)
			}
		})
	}
}

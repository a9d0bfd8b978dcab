package difftest_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// endpoint is an address of a server for its clients.
type endpoint struct {
	*daemon
	network string
	dial    func() (net.Conn, error)
}

// endpoints starts a memcached and an evcached that listen on an endpoint of a kind.
func endpoints(t *testing.T, kind string) (all [2]endpoint) {
	t.Helper()
	ours, err := evcached()
	testkit.Must(t, err)
	for i, path := range []string{memcached(t), ours} {
		e := &all[i]
		e.network = "tcp"
		switch kind {
		case "tcp":
			e.daemon = start(t, path)
		case "waiting":
			e.daemon = start(t, path, "-o", "no_maxconns_fast")
		case "udp":
			e.daemon = start(t, path, "-U", "PORT")
		case "tls":
			chain, key := certificate(t)
			e.daemon = start(t, path, "-u", "root", "-Z", "-o", "ssl_session_cache,ssl_chain_cert="+chain+",ssl_key="+key)
		case "unix":
			e.network = "unix"
			dir, err := os.MkdirTemp("", "s") // memcached cuts long names off
			testkit.Must(t, err)
			t.Cleanup(func() { os.RemoveAll(dir) })
			file := filepath.Join(dir, "s")
			e.daemon = launch(t, file, path, "-s", file, "-u", "root")
		}
		e.dial = func() (net.Conn, error) {
			if kind == "tls" {
				return tls.Dial("tcp", e.addr, &tls.Config{InsecureSkipVerify: true})
			}
			return net.Dial(e.network, e.addr)
		}
		for deadline := time.Now().Add(testTimeout); ; time.Sleep(time.Millisecond) {
			nc, err := e.dial()
			if err == nil {
				testkit.Must(t, nc.Close())
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
	return all
}

// certificate writes a certificate for this machine and its key.
func certificate(t *testing.T) (chain, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.Must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	testkit.Must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	testkit.Must(t, err)
	dir := t.TempDir()
	chain, key = filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")
	testkit.Must(t, os.WriteFile(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	testkit.Must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return chain, key
}

// TestConnectionsAreReportedAlike: listeners, connections in their states, and sockets for datagrams, in the words of memcached.
func TestConnectionsAreReportedAlike(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tcp", "waiting", "udp", "unix", "tls"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var reports [2][]string
			for i, e := range endpoints(t, kind) {
				reports[i] = e.report(t, kind)
			}
			if !slices.Equal(reports[0], reports[1]) {
				t.Errorf("evcached reports\n%s\nwant\n%s", strings.Join(reports[1], "\n"), strings.Join(reports[0], "\n"))
			}
			if len(reports[0]) < 6 {
				t.Errorf("there are only %d sockets to compare", len(reports[0]))
			}
		})
	}
}

// report creates connections in all states and returns the lines of stats conns about each socket, without numbers, in order.
func (e *endpoint) report(t *testing.T, kind string) []string {
	t.Helper()
	names := map[string]string{}
	if kind == "unix" {
		names["unix:"+e.addr] = "server"
	} else {
		names["tcp:"+e.addr], names["udp:"+e.addr] = "server", "server's datagrams"
	}
	for name, request := range map[string]string{
		"asks nothing": "get a\r\n", "is in a line": "get a\r\nget b", "is in a value": "get a\r\nset a 0 0 1000\r\nx", "is in a large value": "get a\r\nset a 0 0 100000\r\nx",
		"is in what is too large": "get a\r\nset a 0 0 10000000\r\nx", "watches": "get a\r\nwatch fetchers\r\n",
	} {
		nc := e.connect(t)
		if kind != "unix" {
			names["tcp:"+nc.LocalAddr().String()] = name
		}
		say(t, nc, request, "END\r\n")
		if name == "watches" {
			say(t, nc, "", "OK\r\n")
		}
	}
	asks := e.connect(t)
	names["tcp:"+asks.LocalAddr().String()] = "asks"
	var last []string
	for deadline := time.Now().Add(testTimeout); ; time.Sleep(10 * time.Millisecond) {
		last = sockets(t, asks, names)
		if idle(strings.Join(last, "\n")) || time.Now().After(deadline) {
			return last
		}
	}
}

// idle reports whether all requests have arrived and the server has left the states in which it serves one. Only the connection of the stats
// command is in such a state.
func idle(report string) bool {
	for _, passing := range []string{"conn_mwrite", "conn_new_cmd", "conn_waiting", "conn_write"} {
		if strings.Contains(report, passing) {
			return false
		}
	}
	return strings.Count(report, "conn_parse_cmd") == 1 && strings.Count(report, "conn_nread") == 2 && strings.Contains(report, "conn_swallow")
}

func (e *endpoint) connect(t *testing.T) net.Conn {
	t.Helper()
	nc, err := e.dial()
	testkit.Must(t, err)
	t.Cleanup(func() { nc.Close() })
	return nc
}

// sockets returns the lines of stats conns about each socket, with names for addresses. memcached reports a socket for datagrams once for each thread.
func sockets(t *testing.T, nc net.Conn, names map[string]string) (all []string) {
	t.Helper()
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testTimeout)))
	_, err := io.WriteString(nc, "stats conns\r\n")
	testkit.Must(t, err)
	by := map[string]string{}
	for in := bufio.NewReader(nc); ; {
		line, err := in.ReadString('\n')
		testkit.Must(t, err)
		if line == "END\r\n" {
			break
		}
		words := strings.Fields(line) // STAT, number:name, value
		number, name, _ := strings.Cut(words[1], ":")
		if name == "secs_since_last_cmd" {
			if n, err := strconv.Atoi(words[2]); err != nil || n < 0 || n > 60 {
				t.Errorf("%q", line)
			}
			words[2] = "N"
		}
		value := strings.Join(words[2:], " ")
		if is := names[value]; is != "" {
			value = is
		}
		by[number] += " " + name + "=" + value
	}
	for _, text := range by {
		all = append(all, text)
	}
	slices.Sort(all)
	datagrams := ""
	return slices.DeleteFunc(all, func(text string) bool {
		again := text == datagrams
		if strings.HasPrefix(text, " UDP=") {
			datagrams = text
		}
		return again
	})
}

// TestFailedHandshakesAreCounted, and stats has the age of the certificates, with the names of memcached. Without TLS it has neither. memcached counts
// only failures during accept, so it depends on chance which of these it counts.
func TestFailedHandshakesAreCounted(t *testing.T) {
	t.Parallel()
	for _, e := range endpoints(t, "tls") {
		before, err := strconv.Atoi(statsOver(t, e.connect(t))["ssl_handshake_errors"]) // from the connection that showed that the server listens
		testkit.Must(t, err)
		for i, attempt := range []func(nc net.Conn){
			func(nc net.Conn) { say(t, nc, strings.Repeat("get a\r\n", 10), "") },
			func(net.Conn) {},
			func(nc net.Conn) { say(t, nc, "\x16\x03\x01", "") },
		} {
			nc, err := net.Dial("tcp", e.addr)
			testkit.Must(t, err)
			attempt(nc)
			testkit.Must(t, nc.Close())
			if e.name == "memcached" {
				continue
			}
			e.untilStat(t, "ssl_handshake_errors", strconv.Itoa(before+i+1))
		}
		nc := e.connect(t)
		if n, err := strconv.Atoi(statsOver(t, nc)["ssl_handshake_errors"]); err != nil {
			t.Errorf("%s: %d failed handshakes, %v", e.name, n, err)
		}
		if n, err := strconv.Atoi(statsOver(t, nc)["ssl_new_sessions"]); err != nil || n < 1 {
			t.Errorf("%s: %d new sessions, %v", e.name, n, err)
		}
		say(t, nc, "refresh_certs\r\n", "OK\r\n")
		have := statsOver(t, nc)
		if age, err := strconv.Atoi(have["time_since_server_cert_refresh"]); err != nil || age > 5 {
			t.Errorf("%s: %v", e.name, have)
		}
	}
	for _, d := range []*daemon{startMemcached(t), startEvcached(t)} {
		have := general(t, d)
		if _, ok := have["ssl_handshake_errors"]; ok {
			t.Errorf("%s counts handshakes without TLS", d.name)
		}
	}
}

// untilStat waits for a statistic.
func (e *endpoint) untilStat(t *testing.T, name, want string) {
	t.Helper()
	nc := e.connect(t)
	defer nc.Close()
	for deadline := time.Now().Add(testTimeout); ; time.Sleep(time.Millisecond) {
		have := statsOver(t, nc)[name]
		if have == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %s is %q, want %q", e.name, name, have, want)
		}
	}
}

// statsOver requests the general statistics over a connection.
func statsOver(t *testing.T, nc net.Conn) map[string]string {
	t.Helper()
	say(t, nc, "stats\r\n", "")
	have := map[string]string{}
	for in := bufio.NewReader(nc); ; {
		line, err := in.ReadString('\n')
		testkit.Must(t, err)
		if line == "END\r\n" {
			return have
		}
		if words := strings.Fields(line); len(words) == 3 {
			have[words[1]] = words[2]
		}
	}
}

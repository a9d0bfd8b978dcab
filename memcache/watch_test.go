package memcache_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
	"github.com/evmq/evmq/server"
)

// watch makes the client a watcher.
func (c *client) watch(events string) {
	c.t.Helper()
	c.ask("watch "+events, "OK")
}

// lineWith reads lines up to the first that contains part.
func (c *client) lineWith(part string) string {
	c.t.Helper()
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("no line with %q: %v", part, err)
		}
		if strings.Contains(line, part) {
			return line
		}
	}
}

// While a watcher does not read, clients are served and the server buffers a bounded number of bytes for it. When it reads again it receives the
// number of skipped lines.
func TestAWatcherThatDoesNotReadDelaysNoClient(t *testing.T) {
	r := start(t, memcache.Config{WatcherLog: 16 << 10})
	slow, quick, c := r.connect(t), r.connect(t), r.connect(t)
	slow.watch("fetchers")
	quick.watch("fetchers")
	key := strings.Repeat("k", 240)
	request, answer := strings.Repeat("get "+key+"|", 19)+"get end", strings.Repeat("END|", 19)+"END"
	most := 0
	for c.stats("")["log_watcher_skipped"] == "0" || most == 0 { // a loop that is late has lines skipped, too, and then nothing waits
		c.ask(request, answer)
		quick.lineWith("key=end")
		most = 0
		for conn := range r.srv.Conns() {
			most = max(most, conn.Stats().BufferedBytes)
		}
		if most > 16<<10 {
			t.Fatalf("%d bytes wait for a client that does not read, want %d at most", most, 16<<10)
		}
	}
	all := make(chan error, 1)
	go func() { // reads the lines that were sent, and then the note
		for {
			line, err := slow.r.ReadString('\n')
			if err != nil || strings.HasPrefix(line, "skipped=") {
				all <- err
				return
			}
		}
	}()
	for {
		select {
		case err := <-all:
			testkit.Must(t, err)
			return
		default:
			c.ask("get again", "END")
			quick.lineWith("key=again")
		}
	}
}

// TestAWatcherEndsWithItsConnection, whether the client closes or resets it, and also while lines are sent.
func TestAWatcherEndsWithItsConnection(t *testing.T) {
	r := start(t, memcache.Config{})
	c := r.connect(t)
	for _, leave := range []func(*client) error{(*client).Close, resetOf} {
		w := r.connect(t)
		w.watch("fetchers mutations")
		c.ask("get a", "END")
		testkit.Must(t, leave(w))
		for c.stats("")["log_watchers"] != "0" {
			c.ask("get a", "END")
		}
	}
}

// TestTheProgramClosesAConnectionNormally, as its watchers see it, also after answers have waited for room in the output.
func TestTheProgramClosesAConnectionNormally(t *testing.T) {
	r := startOn(t, memcache.Config{}, &server.Server{MaxOutput: 4 << 10, HighWater: 1 << 10})
	value := strings.Repeat("v", 700_000)
	c := r.connect(t)
	c.ask(fmt.Sprintf("set k 0 0 %d|%s", len(value), value), "STORED")
	c.send("get k k k", "version")
	for range 3 {
		c.expect(fmt.Sprintf("VALUE k 0 %d", len(value)), value)
	}
	c.expect("END", "VERSION "+memcache.Version)
	served := slices.Collect(r.srv.Conns())
	w := r.connect(t)
	w.watch("connevents")
	for _, conn := range served {
		conn.Close()
	}
	c.closed()
	testkit.Must(t, c.Close())
	if line := w.lineWith("conn_close"); !strings.Contains(line, " reason=normal ") {
		t.Error(line)
	}
}

// TestAWatcherIsNotClosedAsIdle, however long it sends nothing and there are no lines.
func TestAWatcherIsNotClosedAsIdle(t *testing.T) {
	clock := testkit.NewClock()
	r := startOn(t, memcache.Config{}, &server.Server{IdleTimeout: time.Second, LoopConfig: &event.Config{Clock: clock}})
	w, silent := r.connect(t), r.connect(t)
	w.watch("connevents")
	silent.ask("version", "VERSION "+memcache.Version)
	clock.Advance(2 * time.Second)
	silent.closed()
	testkit.Must(t, silent.Close())
	w.lineWith("reason=idle_timeout")
	r.connect(t)
	w.lineWith("type=conn_new")
}

// TestLinesForWatchersHaveTheTransport: a unix socket has no address, IPv6 has no brackets, and datagrams have the number of their socket.
func TestLinesForWatchersHaveTheTransport(t *testing.T) {
	r := start(t, memcache.Config{})
	w := r.connect(t)
	w.watch("connevents fetchers")
	path := filepath.Join(t.TempDir(), "s")
	_, err := r.srv.Listen(context.Background(), "unix", path, nil)
	testkit.Must(t, err)
	pc, err := r.srv.ListenPacket(context.Background(), "udp", "127.0.0.1:0", &server.PacketConfig{Handler: r.Packet})
	testkit.Must(t, err)
	nc, err := net.Dial("unix", path)
	testkit.Must(t, err)
	if line := w.lineWith("conn_new"); !strings.Contains(line, " rip=unix rport=0 transport=local cfd=") {
		t.Error(line)
	}
	testkit.Must(t, nc.Close())
	if line := w.lineWith("conn_close"); !strings.Contains(line, " rip=unix rport=0 transport=local reason=normal cfd=") {
		t.Error(line)
	}
	if ln, err := r.srv.Listen(context.Background(), "tcp", "[::1]:0", nil); err == nil { // where there is IPv6
		nc, err := net.Dial("tcp", ln.Addr().String())
		testkit.Must(t, err)
		defer nc.Close()
		if line := w.lineWith("conn_new"); !strings.Contains(line, " rip=::1 rport=") {
			t.Error(line)
		}
	}
	u, err := net.Dial("udp", pc.LocalAddr().String())
	testkit.Must(t, err)
	defer u.Close()
	_, err = io.WriteString(u, "\x00\x01\x00\x00\x00\x01\x00\x00get datagram\r\n")
	testkit.Must(t, err)
	if line := w.lineWith("item_get"); !strings.Contains(line, fmt.Sprintf("key=datagram status=not_found clsid=0 cfd=%d size=0", pc.FD())) {
		t.Error(line)
	}
}

// TestADatagramCannotWatch: as in memcached, neither the command nor the rest of the datagram is answered. The next datagram is served.
func TestADatagramCannotWatch(t *testing.T) {
	r := start(t, memcache.Config{})
	pc, err := r.srv.ListenPacket(context.Background(), "udp", "127.0.0.1:0", &server.PacketConfig{Handler: r.Packet})
	testkit.Must(t, err)
	u, err := net.Dial("udp", pc.LocalAddr().String())
	testkit.Must(t, err)
	defer u.Close()
	testkit.Must(t, u.SetDeadline(time.Now().Add(testTimeout)))
	for i, request := range []string{"watch fetchers\r\nmn\r\n", "mn\r\n"} {
		_, err = fmt.Fprintf(u, "\x00%c\x00\x00\x00\x01\x00\x00%s", i+1, request)
		testkit.Must(t, err)
	}
	answer := make([]byte, 100)
	n, err := u.Read(answer)
	testkit.Must(t, err)
	if got := string(answer[:n]); got != "\x00\x02\x00\x00\x00\x01\x00\x00MN\r\n" {
		t.Errorf("%q", got)
	}
}

// TestAnExpiredItemIsReportedOnce: its first look-up has the status expired, and the next one not_found.
func TestAnExpiredItemIsReportedOnce(t *testing.T) {
	r := start(t, memcache.Config{})
	w, c := r.connect(t), r.connect(t)
	c.ask("set a 0 5 1|x", "STORED")
	r.clock.add(6)
	w.watch("fetchers")
	c.ask("get a|get a", "END|END")
	for _, want := range []string{"status=expired", "status=not_found"} {
		if line := w.lineWith("key=a"); !strings.Contains(line, want) {
			t.Errorf("%q, want %q", line, want)
		}
	}
}

// Watchers receive lines about values that are refused because they are too large or because there is no memory.
func TestRefusedValuesHaveLines(t *testing.T) {
	r := start(t, memcache.Config{MaxItem: 2000, NoEvict: true, Memory: 1 << 20})
	w, c := r.connect(t), r.connect(t)
	w.watch("mutations")
	c.ask("add large 0 9 5000|"+strings.Repeat("v", 5000)+"|ms meta 5000|"+strings.Repeat("v", 5000),
		"SERVER_ERROR object too large for cache|SERVER_ERROR object too large for cache")
	for _, want := range []string{"key=large status=too_large cmd=add", "key=meta status=too_large cmd=set"} {
		if line := w.lineWith("item_store"); !strings.Contains(line, want) || !strings.Contains(line, "size=5000\n") {
			t.Errorf("%q, want %q", line, want)
		}
	}
	for i := range 2000 {
		c.send(fmt.Sprintf("set k%d 0 0 1000", i), strings.Repeat("v", 1000))
		if answer, err := c.r.ReadString('\n'); err != nil || answer != "STORED\r\n" {
			break
		}
	}
	if line := w.lineWith("no_memory"); !strings.Contains(line, "cmd=set ttl=0 ") {
		t.Error(line)
	}
}

// A shutdown does not wait for a watcher that continues to read.
func TestAShutdownClosesWatchers(t *testing.T) {
	r := start(t, memcache.Config{})
	w := r.connect(t)
	w.watch("connevents")
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, bufio.NewReader(w))
		ended <- errors.Join(err, w.Close())
	}()
	testkit.Must(t, r.srv.Close())
	testkit.Must(t, r.Close())
	if err := <-ended; errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the watcher's connection was not closed")
	}
}

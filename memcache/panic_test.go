package memcache

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/server"
)

// trapClock is a Clock that panics at the left-th call of Unix.
type trapClock struct{ now, left atomic.Int64 }

func (c *trapClock) Unix() int64 {
	if c.left.Load() > 0 && c.left.Add(-1) == 0 {
		panic("the clock is broken")
	}
	return c.now.Load()
}

// panicLog collects the log records of panics.
type panicLog struct{ records chan slog.Record }

func (l panicLog) Enabled(context.Context, slog.Level) bool { return true }
func (l panicLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l panicLog) WithGroup(string) slog.Handler            { return l }
func (l panicLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "memcache: panic" {
		l.records <- r
	}
	return nil
}

// allSockets is a cache that listens on every kind of socket, each with one loop.
type allSockets struct {
	*Cache
	clock *trapClock
	log   panicLog
	dial  map[string]func() (net.Conn, error)
}

const giveUp = 3 * time.Minute // no measure of speed

func newHouse(t *testing.T, c Config) *allSockets {
	t.Helper()
	h := &allSockets{clock: new(trapClock), log: panicLog{make(chan slog.Record, 100)}}
	h.clock.now.Store(1_700_000_000)
	c.Clock, c.Logger = h.clock, slog.New(h.log)
	var err error
	if h.Cache, err = New(&c); err != nil {
		t.Fatal(err)
	}
	lender := httptest.NewUnstartedServer(nil) // of a certificate
	lender.StartTLS()
	certs := lender.TLS.Certificates
	lender.Close()
	plain := &server.Server{NumLoops: 1, Logger: c.Logger}
	secure := &server.Server{NumLoops: 1, Logger: c.Logger, TLS: &tls.Config{Certificates: certs}}
	h.Attach(plain)
	h.Attach(secure)
	listen := func(s *server.Server, network, addr string) string {
		ln, err := s.Listen(context.Background(), network, addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		return ln.Addr().String()
	}
	tcp := listen(plain, "tcp", "127.0.0.1:0")
	path := listen(plain, "unix", filepath.Join(t.TempDir(), "s"))
	safe := listen(secure, "tcp", "127.0.0.1:0")
	pc, err := plain.ListenPacket(context.Background(), "udp", "127.0.0.1:0", &server.PacketConfig{Handler: h.Packet})
	if err != nil {
		t.Fatal(err)
	}
	h.dial = map[string]func() (net.Conn, error){
		"tcp":  func() (net.Conn, error) { return net.Dial("tcp", tcp) },
		"unix": func() (net.Conn, error) { return net.Dial("unix", path) },
		"tls":  func() (net.Conn, error) { return tls.Dial("tcp", safe, &tls.Config{InsecureSkipVerify: true}) },
		"udp": func() (net.Conn, error) {
			nc, err := net.Dial("udp", pc.LocalAddr().String())
			return datagrams{nc}, err
		},
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), giveUp)
		defer cancel()
		if err := errors.Join(plain.Shutdown(ctx), secure.Shutdown(ctx), h.Close()); err != nil {
			t.Error(err)
		}
	})
	return h
}

// datagrams is a connection for requests in datagrams.
type datagrams struct{ net.Conn }

func (d datagrams) Write(p []byte) (int, error) {
	return d.Conn.Write(append([]byte{0, 1, 0, 0, 0, 1, 0, 0}, p...))
}

func (d datagrams) Read(p []byte) (int, error) {
	var b [2000]byte
	n, err := d.Conn.Read(b[:])
	return copy(p, b[min(8, n):n]), err
}

// open opens a connection.
func (h *allSockets) open(t *testing.T, door string) net.Conn {
	t.Helper()
	nc, err := h.dial[door]()
	if err == nil {
		err = nc.SetDeadline(time.Now().Add(giveUp))
	}
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

// exchange sends a request and reads until the answer ends with end or the connection ends.
func exchange(nc net.Conn, request, end string) (answer []byte, err error) {
	if _, err := io.WriteString(nc, request); err != nil {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	for !bytes.HasSuffix(answer, []byte(end)) {
		n, err := nc.Read(buf)
		answer = append(answer, buf[:n]...)
		if err != nil {
			return answer, err
		}
	}
	return answer, nil
}

// binFrame is a request of the binary protocol with opaque and cas 0.
func binFrame(op protocol.Opcode, extras, key, value string) string {
	b := make([]byte, protocol.HeaderLen)
	b[0], b[1], b[4] = protocol.RequestMagic, byte(op), byte(len(extras))
	binary.BigEndian.PutUint16(b[2:], uint16(len(key)))
	binary.BigEndian.PutUint32(b[8:], uint32(len(extras)+len(key)+len(value)))
	return string(b) + extras + key + value
}

const (
	noExpiry  = "\x00\x00\x00\x00"
	noFlags   = "\x00\x00\x00\x00"
	oneAndOne = "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01"
)

// everyCommand is a request of each kind for the key k.
func everyCommand() []string {
	large := strings.Repeat("v", 40_000)
	all := []string{
		"set k 0 10 1\r\n1\r\n", "add k 0 0 1\r\n1\r\n", "replace k 0 0 1\r\n1\r\n", "append k 0 0 1\r\n1\r\n", "prepend k 0 0 1\r\n1\r\n",
		"cas k 0 0 1 1\r\n1\r\n", "get k\r\n", "gets k other\r\n", "gat 10 k\r\n", "gats 0 k\r\n", "incr k 1\r\n", "decr k 1\r\n",
		"touch k 10\r\n", "delete k\r\n", "set k 0 0 40000\r\n" + large + "\r\n", "get k\r\n", "append k 0 0 1\r\n1\r\n", "ms k 1 T5 c\r\n1\r\n",
		"ms k 1 MA\r\n1\r\n", "mg k v t T10 R30\r\n", "mg n N30 v\r\n", "ma k T10 v\r\n", "ma m N0 J5 v t\r\n", "md k I T5\r\n", "mg k v\r\n", "me k\r\n",
		"md k\r\n", "stats\r\n", "stats settings\r\n", "stats slabs\r\n", "stats items\r\n", "stats conns\r\n", "set k 0 0 1\r\n1\r\n",
		"lru_crawler metadump all\r\n", "lru_crawler crawl all\r\n", "cache_memlimit 32\r\n", "flush_all 1\r\n", "flush_all\r\n",
	}
	for op, extras := range map[protocol.Opcode]string{
		protocol.BinSet: noFlags + noExpiry, protocol.BinAdd: noFlags + noExpiry, protocol.BinReplace: noFlags + noExpiry,
		protocol.BinAppend: "", protocol.BinGet: "", protocol.BinGetKQ: "", protocol.BinGAT: noExpiry, protocol.BinTouch: noExpiry,
		protocol.BinIncrement: oneAndOne + noExpiry, protocol.BinDelete: "",
	} {
		value := map[bool]string{true: "1"}[op == protocol.BinAppend || op == protocol.BinSet || op == protocol.BinAdd || op == protocol.BinReplace]
		all = append(all, binFrame(op, extras, "k", value))
	}
	return append(all, binFrame(protocol.BinSet, noFlags+noExpiry, "k", large), binFrame(protocol.BinGAT, noExpiry, "k", ""),
		binFrame(protocol.BinFlush, noExpiry, "", ""), binFrame(protocol.BinStat, "", "", ""))
}

// A panic anywhere in a request, on any kind of socket, is logged with its stack and counted. The connection is closed, no lock stays held, and the
// next client with the same key on the same loop is answered.
func TestAPanicWhileAClientIsServedEndsThatClientAlone(t *testing.T) {
	h := newHouse(t, Config{})
	neighbour := map[string]net.Conn{}
	for door := range h.dial {
		neighbour[door] = h.open(t, door)
		defer neighbour[door].Close()
		// When it has been answered it is open: opening it reads the clock, too.
		if answer, err := exchange(neighbour[door], "mn\r\n", "MN\r\n"); err != nil {
			t.Fatalf("%s: %q, %v", door, answer, err)
		}
	}
	panics := uint64(0)
	for door := range h.dial {
		for _, request := range everyCommand() {
			if door == "udp" && len(request) > 30_000 {
				continue // no datagram is so long
			}
			for n := int64(1); h.triggersPanic(t, door, request, n); n++ {
				panics++
				answer, err := exchange(neighbour[door], "ms k 1\r\n1\r\nmn\r\n", "MN\r\n")
				if err != nil || !strings.HasSuffix(string(answer), "HD\r\nMN\r\n") {
					t.Fatalf("%s: after a panic in %.40q the next client is answered %q, %v", door, request, answer, err)
				}
			}
		}
	}
	if got := h.panics.Load(); got != panics || panics < 200 {
		t.Errorf("%d panics are counted, there were %d", got, panics)
	}
	if st := h.store.Stats(); st.Coming != 0 {
		t.Errorf("%d bytes are of values that are coming", st.Coming)
	}
	if answer, err := exchange(neighbour["tcp"], "stats evmq\r\n", "END\r\n"); !strings.Contains(string(answer), fmt.Sprintf("STAT panics %d\r\n", panics)) {
		t.Errorf("stats: %v, %s", err, answer)
	}
}

// triggersPanic sends a request while the clock panics at its n-th call, and reports whether it has panicked.
func (h *allSockets) triggersPanic(t *testing.T, door, request string, n int64) bool {
	t.Helper()
	nc := h.open(t, door)
	defer nc.Close()
	end, last := "MN\r\n", "mn\r\n"
	if request[0] == protocol.RequestMagic {
		last = binFrame(protocol.BinNoop, "", "", "")
		end = string(append([]byte{protocol.ResponseMagic, byte(protocol.BinNoop)}, make([]byte, 22)...))
	}
	if door == "udp" {
		return h.triggersPanicInDatagram(t, nc, request+last, end, n)
	}
	h.clock.left.Store(n)
	answer, err := exchange(nc, request+last, end)
	sprung := h.clock.left.Swap(0) == 0
	switch {
	case sprung && (err == nil || isDeadline(err)):
		t.Fatalf("%s: the connection stays open after a panic in %.40q: %q, %v", door, request, answer, err)
	case !sprung && err != nil:
		t.Fatalf("%s: %.40q: %q, %v", door, request, answer, err)
	case sprung:
		h.checkLog(t, <-h.log.records)
	}
	return sprung
}

// triggersPanicInDatagram is triggersPanic for a datagram, whose end cannot be observed.
func (h *allSockets) triggersPanicInDatagram(t *testing.T, nc net.Conn, request, end string, n int64) bool {
	t.Helper()
	h.clock.left.Store(n)
	answered := make(chan error, 1)
	go func() {
		_, err := exchange(nc, request, end)
		answered <- err
	}()
	select {
	case err := <-answered:
		h.clock.left.Store(0)
		if err != nil {
			t.Fatalf("%.40q in a datagram: %v", request, err)
		}
		return false
	case r := <-h.log.records:
		h.checkLog(t, r)
		nc.Close()
		<-answered
		return true
	}
}

func isDeadline(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// checkLog checks that a record contains the panic and the place.
func (h *allSockets) checkLog(t *testing.T, r slog.Record) {
	t.Helper()
	attrs := map[string]string{}
	r.Attrs(func(a slog.Attr) bool {
		attrs[a.Key] = a.Value.String()
		return true
	})
	if r.Level != slog.LevelError || attrs["value"] != "the clock is broken" || !strings.Contains(attrs["stack"], "trapClock") || attrs["in"] == "" {
		t.Errorf("logged is %v %v", r.Level, attrs)
	}
}

// TestAPanicOfTheProgramsOwnFunctionsEndsTheClient whose request called them, on the loop and on other goroutines.
func TestAPanicOfTheProgramsOwnFunctionsEndsTheClient(t *testing.T) {
	h := newHouse(t, Config{
		Shutdown:     func(bool) { panic("Shutdown") },
		RefreshCerts: func() error { panic("RefreshCerts") },
		Waits:        func() (uint64, time.Duration) { panic("Waits") },
	})
	neighbour := h.open(t, "tcp")
	defer neighbour.Close()
	for i, request := range []string{"shutdown\r\n", "refresh_certs\r\n", "stats\r\n", "stats\r\n"} {
		nc := h.open(t, "tcp")
		if answer, err := exchange(nc, request+"mn\r\n", "MN\r\n"); err == nil || isDeadline(err) {
			t.Errorf("%q: %q, %v", request, answer, err)
		}
		nc.Close()
		<-h.log.records
		if answer, err := exchange(neighbour, "set k 0 0 1\r\n1\r\n", "STORED\r\n"); err != nil {
			t.Fatalf("after %q: %q, %v", request, answer, err)
		}
		if got := h.panics.Load(); got != uint64(i+1) {
			t.Errorf("%d panics are counted, there were %d", got, i+1)
		}
	}
}

// TestAPanicOnTheClocksGoroutineDoesNotStopTheClock, which continues to advance.
func TestAPanicOnTheClocksGoroutineDoesNotStopTheClock(t *testing.T) {
	c := newCache(t, Config{})
	calls := make(chan int, 3)
	clock := newTicker()
	n := 0
	go clock.run(time.Millisecond, func(time.Time) {
		c.isolated("reap", func() {
			if n++; n <= cap(calls) {
				calls <- n
			}
			panic("reap")
		})
	})
	for want := 1; want <= cap(calls); want++ {
		if got := <-calls; got != want {
			t.Errorf("call %d, want %d", got, want)
		}
	}
	clock.close()
	if got := c.panics.Load(); got < uint64(cap(calls)) {
		t.Errorf("%d panics are counted", got)
	}
}

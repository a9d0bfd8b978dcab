package memcache_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
	"github.com/evmq/evmq/server"
)

// smallCache is a cache with room for some 20 values. The kernel buffers little for each connection.
type smallCache struct {
	*running
	*client
	value string
}

const smallMemory = 4 << 20

func newSmallCache(t *testing.T) *smallCache {
	r := startOn(t, memcache.Config{Memory: smallMemory, MaxItem: 256 << 10},
		&server.Server{NumLoops: 2, Socket: server.SocketOptions{WriteBuffer: 16 << 10}})
	return &smallCache{r, r.connect(t), strings.Repeat("v", 200_000)}
}

// set stores a value.
func (r *smallCache) set(key string) {
	r.ask(fmt.Sprintf("set %s 0 0 %d|%s", key, len(r.value), r.value), "STORED")
}

// stall stores a value, and connects a client that requests it and does not read the answer.
func (r *smallCache) stall(t *testing.T, key string) *client {
	t.Helper()
	r.set(key)
	slow := r.connect(t)
	testkit.Must(t, slow.Conn.(*net.TCPConn).SetReadBuffer(4096))
	slow.send("get "+key, "get "+key, "version")
	_, err := io.ReadFull(slow.r, make([]byte, 100)) // its first answer is on its way
	testkit.Must(t, err)
	return slow
}

// Values are stored within the memory limit however much memory is lent to connections that do not read. No more connections are closed than
// necessary.
func TestConnectionsThatDoNotReadAreClosedForNewValues(t *testing.T) {
	t.Parallel()
	r := newSmallCache(t)
	r.ask("set small 0 0 1|x", "STORED")
	var readers []*client
	for i := range 40 {
		readers = append(readers, r.stall(t, fmt.Sprint("big", i)))
		r.ask("get small", "VALUE small 0 1|x|END")
		if st := r.Store().Stats(); st.Memory > smallMemory {
			t.Fatalf("%d bytes of memory, %d of them lent", st.Memory, st.Lent)
		}
	}
	stats := r.stats("")
	var closed int
	_, err := fmt.Sscan(r.stats("evmq")["slow_readers_closed"], &closed)
	testkit.Must(t, err)
	if stats["store_no_memory"] != "0" || closed < 18 || closed > 28 {
		t.Errorf("%s values were refused, %d connections closed", stats["store_no_memory"], closed)
	}
	for _, slow := range readers {
		testkit.Must(t, slow.Close())
	}
	testkit.Until(t, "the return of all values", func() bool { return r.Store().Stats().Held == 0 })
	r.set("big")
}

// TestAConnectionThatReadsIsNotClosedBeforeOthers when memory is short.
func TestAConnectionThatReadsIsNotClosedBeforeOthers(t *testing.T) {
	t.Parallel()
	r := newSmallCache(t)
	r.set("read")
	reads := r.connect(t) // before the others, so that its lease is the oldest
	testkit.Must(t, reads.Conn.(*net.TCPConn).SetReadBuffer(4096))
	reads.send(strings.Repeat("get read\r\n", 10_000) + "version")
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		p := make([]byte, 4000)
		for {
			select {
			case <-stop:
				done <- nil
				return
			case <-time.After(time.Millisecond):
				if _, err := reads.r.Read(p); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	for i := range 19 {
		r.stall(t, fmt.Sprint("stalled", i))
	}
	for i := range 8 {
		r.set(fmt.Sprint("new", i))
	}
	close(stop)
	if err := <-done; err != nil {
		t.Errorf("the connection that reads: %v", err)
	}
	if n := r.stats("evmq")["slow_readers_closed"]; n == "0" {
		t.Error("none was closed")
	}
}

// begin has a client send a part of a value.
func (r *smallCache) begin(t *testing.T, key string) *client {
	t.Helper()
	c := r.connect(t)
	c.send(fmt.Sprintf("set %s 0 0 %d", key, len(r.value)))
	_, err := io.WriteString(c, r.value[:190_000])
	testkit.Must(t, err)
	return c
}

// setUntilStored sets a key until the value is stored.
func (r *smallCache) setUntilStored(t *testing.T, key string) {
	t.Helper()
	testkit.Until(t, "a stored value", func() bool {
		r.send(fmt.Sprintf("set %s 0 0 %d", key, len(r.value)), r.value)
		answer, err := r.r.ReadString('\n')
		testkit.Must(t, err)
		return answer == "STORED\r\n"
	})
}

// TestAValueWithoutRoomIsRefusedAtOnceIfOthersAreBeingReceived: connections that have just sent a part of a value are not closed.
func TestAValueWithoutRoomIsRefusedAtOnceIfOthersAreBeingReceived(t *testing.T) {
	r := newSmallCache(t)
	r.SetStalledAfter(time.Hour) // also on a slow machine they have just sent it
	for i := range 40 {
		r.begin(t, fmt.Sprint("part", i))
	}
	testkit.Until(t, "the refusal", func() bool { return r.stats("")["store_no_memory"] != "0" })
	r.ask("set small 0 0 1|x|get small", "STORED|VALUE small 0 1|x|END")
	if own := r.stats("evmq"); own["slow_readers_closed"] != "0" || own["slow_writers_closed"] != "0" {
		t.Errorf("connections were closed: %v", own)
	}
}

// TestConnectionsThatDoNotSendTheRestOfAValueAreClosed if a complete value needs their memory, and no more of them than are needed.
func TestConnectionsThatDoNotSendTheRestOfAValueAreClosed(t *testing.T) {
	t.Parallel()
	r := newSmallCache(t)
	var writers []*client
	for i := range 40 {
		writers = append(writers, r.begin(t, fmt.Sprint("part", i)))
	}
	testkit.Until(t, "the refusal", func() bool { return r.stats("")["store_no_memory"] != "0" })
	r.setUntilStored(t, "new")
	r.set("new")
	r.ask("get new", fmt.Sprintf("VALUE new 0 %d|%s|END", len(r.value), r.value))
	own := r.stats("evmq")
	var closed int
	_, err := fmt.Sscan(own["slow_writers_closed"], &closed)
	testkit.Must(t, err)
	if closed == 0 || closed > 4 || own["slow_readers_closed"] != "0" {
		t.Errorf("connections were closed: %v", own)
	}
	for _, c := range writers {
		testkit.Must(t, c.Close())
	}
	testkit.Until(t, "the end of the incoming value", func() bool { return r.Store().Stats().Coming == 0 })
}

// TestAConnectionThatSendsIsNotClosedBeforeOthers when memory is short, however slowly it sends.
func TestAConnectionThatSendsIsNotClosedBeforeOthers(t *testing.T) {
	t.Parallel()
	r := newSmallCache(t)
	slow := r.begin(t, "slow")
	testkit.Until(t, "an incoming value", func() bool { return r.Store().Stats().Coming > 0 })
	for i := range 40 {
		r.begin(t, fmt.Sprint("part", i))
	}
	sent, stop, done := 190_000, make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			case <-time.After(10 * time.Millisecond):
				if _, err := io.WriteString(slow, "v"); err != nil {
					done <- err
					return
				}
				sent++
			}
		}
	}()
	testkit.Until(t, "the refusal", func() bool { return r.stats("")["store_no_memory"] != "0" })
	for i := range 8 {
		r.setUntilStored(t, fmt.Sprint("new", i))
	}
	close(stop)
	testkit.Must(t, <-done)
	slow.send(r.value[sent:])
	slow.expect("STORED")
}

// TestAnAppendWaitsForMemory, in each protocol, whether the appended value is small or large.
func TestAnAppendWaitsForMemory(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]func(r *smallCache, tail string){
		"text": func(r *smallCache, tail string) { r.ask(fmt.Sprintf("append k 0 0 %d|%s", len(tail), tail), "STORED") },
		"meta": func(r *smallCache, tail string) { r.ask(fmt.Sprintf("ms k %d MA|%s", len(tail), tail), "HD") },
		"binary": func(r *smallCache, tail string) {
			b := r.connect(r.t)
			b.frame(protocol.BinAppend, 0, "", "k", tail)
			b.wants(`0xe status 0x0 extras  key "" value ""`)
		},
	} {
		for _, n := range []int{1, 50_000} {
			t.Run(fmt.Sprint(name, n), func(t *testing.T) {
				t.Parallel()
				r := newSmallCache(t)
				r.set("k")
				kept := r.value
				for i := range 19 {
					if i == 18 {
						r.value = kept[:120_000] // as much as there is room for
					}
					r.stall(t, fmt.Sprint("stalled", i))
					r.ask("touch k 0", "TOUCHED")
				}
				r.value = kept
				tail := strings.Repeat("t", n)
				request(r, tail)
				r.ask("get k", fmt.Sprintf("VALUE k 0 %d|%s%s|END", len(r.value)+n, r.value, tail))
				if got := r.stats("evmq")["slow_readers_closed"]; got == "0" {
					t.Error("none was closed")
				}
			})
		}
	}
}

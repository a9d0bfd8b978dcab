package memcache_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
	"github.com/evmq/evmq/server"
)

// TestALongLineWithoutAnEndClosesTheConnection, except that of a get, which may have any number of keys.
func TestALongLineWithoutAnEndClosesTheConnection(t *testing.T) {
	r := start(t, memcache.Config{})
	c := r.connect(t)
	_, err := io.WriteString(c, strings.Repeat("a", 3000))
	testkit.Must(t, err)
	c.closed()
	c = r.connect(t)
	c.ask("set k 0 0 1|x", "STORED")
	c.send("gets" + strings.Repeat(" k", 50_000))
	for range 50_000 {
		c.expect("VALUE k 0 1 1", "x")
	}
	c.expect("END")
}

// TestAValueThatIsTooLargeIsDiscarded. The connection continues, and the old item is removed.
func TestAValueThatIsTooLargeIsDiscarded(t *testing.T) {
	c := start(t, memcache.Config{MaxItem: 100_000}).connect(t)
	c.ask("set k 0 0 1|x", "STORED")
	big := strings.Repeat("y", 100_000)
	for _, command := range []string{"add k 0 0 100000", "set k 0 0 100000", "ms k 100000"} {
		c.ask(command+"|"+big, "SERVER_ERROR object too large for cache")
	}
	c.ask("get k", "END")
	fits := strings.Repeat("z", 99_900)
	c.ask("set k 0 0 99900|"+fits, "STORED")
	c.ask("get k", "VALUE k 0 99900|"+fits+"|END")
	c.ask("append k 0 0 1000|"+strings.Repeat("a", 1000), "NOT_STORED")
	c.ask("mg k s", "HD s99900")
}

// TestLargeValuesMayArriveInPieces of every size, and are answered complete. A wrong end of line is an error.
func TestLargeValuesMayArriveInPieces(t *testing.T) {
	r := start(t, memcache.Config{})
	c := r.connect(t)
	for _, size := range []int{16_381, 16_382, 16_383, 32_766, 70_000, 500_000, 1_000_000} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte('a' + i%23)
		}
		request := append(fmt.Appendf(nil, "set k 5 0 %d\r\n", size), data...)
		request = append(request, "\r\n"...)
		for _, piece := range []int{1000, 65_536, len(request)} {
			go func(rest []byte) {
				for len(rest) > 0 {
					n, err := c.Write(rest[:min(piece, len(rest))])
					if err != nil {
						return
					}
					rest = rest[n:]
				}
			}(request)
			c.expect("STORED")
			c.ask("get k", fmt.Sprintf("VALUE k 5 %d|%s|END", size, data))
		}
		copy(request[len(request)-2:], "xx")
		_, err := c.Write(request)
		testkit.Must(t, err)
		c.expect("CLIENT_ERROR bad data chunk")
	}
}

// TestLargeValuesMayFollowEachOther without a pause, with small requests between them: each is stored under its own key.
func TestLargeValuesMayFollowEachOther(t *testing.T) {
	r := start(t, memcache.Config{})
	var requests strings.Builder
	var answers []string
	random := rand.New(rand.NewPCG(4, 4))
	for i := range 60 {
		size := random.IntN([...]int{100, 3000, 17_000, 70_000, 300_000, 600_000}[i%6])
		value := strings.Repeat(fmt.Sprintf("%07d.", i), size/8)
		fmt.Fprintf(&requests, "set k 0 0 %d\r\n%s\r\nmg k s v\r\n", len(value), value)
		answers = append(answers, "STORED", fmt.Sprintf("VA %d s%d", len(value), len(value)), value)
	}
	for _, most := range []int{3000, 30_000, 1 << 20} {
		c := r.connect(t)
		go func(rest string) {
			for len(rest) > 0 {
				n, err := io.WriteString(c, rest[:min(len(rest), 1+rand.IntN(most))])
				if err != nil {
					return // the reader complains
				}
				rest = rest[n:]
			}
		}(requests.String())
		c.expect(answers...)
	}
}

// TestAnnouncedValuesTakeNoMemory before they arrive. The memory of incomplete values is limited by the store's memory, and by one read and MaxInput
// for each connection.
func TestAnnouncedValuesTakeNoMemory(t *testing.T) {
	const memory = 16 << 20
	const input = 64<<10 + server.DefaultMaxInput
	r := start(t, memcache.Config{Memory: memory, MaxItem: 4 << 20})
	before := heap()
	var clients []*client
	for i := range 200 {
		c := r.connect(t)
		c.send(fmt.Sprintf("set k%d 0 0 4000000", i))
		clients = append(clients, c)
	}
	c := r.connect(t)
	c.ask("set fits 0 0 300000|"+strings.Repeat("f", 300_000), "STORED") // announced values take no room from this one
	piece := bytes.Repeat([]byte("x"), 1<<20)
	cut := 0
	for _, c := range clients {
		if _, err := c.Write(piece); err != nil {
			cut++ // the server has needed its memory for another value, as counted below
		}
	}
	testkit.Until(t, "the first refusal", func() bool {
		if held := r.srv.Stats().BufferedBytes; held > int64(len(clients)+1)*input {
			t.Errorf("%d MB of input are held for %d connections", held>>20, len(clients)+1)
		}
		return c.stats("")["store_no_memory"] != "0"
	})
	if n, err := strconv.Atoi(c.stats("evmq")["slow_writers_closed"]); err != nil || n < cut {
		t.Errorf("%d writes failed, and %d connections were closed for their memory; %v", cut, n, err)
	}
	// While the server reads, its garbage is counted, too, but not after each collection.
	testkit.Until(t, "the release of the memory", func() bool { return heap() <= before+3*memory })
	c.ask("set small 0 0 1|x|get small", "STORED|VALUE small 0 1|x|END")
}

// heap returns the number of bytes in use. Two collections free what is in a sync.Pool.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestASlowReaderOfManyLargeValuesTakesLittleMemory: its requests wait while it does not read.
func TestASlowReaderOfManyLargeValuesTakesLittleMemory(t *testing.T) {
	r := start(t, memcache.Config{})
	c := r.connect(t)
	value := strings.Repeat("v", 900_000)
	c.ask("set k 0 0 900000|"+value, "STORED")
	before := heap()
	const gets = 2000 // 1.8 GB
	go func() {
		for range gets {
			if _, err := io.WriteString(c, "get k k\r\n"); err != nil {
				return
			}
		}
	}()
	other := r.connect(t)
	for range 50 {
		other.ask("mg k s", "HD s900000")
	}
	if after := heap(); after > before+32<<20 {
		t.Errorf("%d MB are held, before %d MB", after>>20, before>>20)
	}
	n, err := io.CopyN(io.Discard, c.r, 20*(2*int64(len("VALUE k 0 900000\r\n")+900_002)+5))
	if err != nil {
		t.Errorf("after %d bytes: %v", n, err)
	}
}

// TestAConnectionYieldsToOthersAfterPerTurnRequests, as the count of yields shows.
func TestAConnectionYieldsToOthersAfterPerTurnRequests(t *testing.T) {
	r := start(t, memcache.Config{PerTurn: 3})
	c := r.connect(t)
	c.send(strings.TrimSuffix(strings.Repeat("mn\r\n", 5000), "\r\n"))
	for range 5000 {
		c.expect("MN")
	}
	c.send("stats")
	for {
		line, err := c.r.ReadString('\n')
		testkit.Must(t, err)
		if n, ok := strings.CutPrefix(line, "STAT conn_yields "); ok {
			if strings.TrimSpace(n) == "0" {
				t.Error("there was no yield")
			}
			return
		}
	}
}

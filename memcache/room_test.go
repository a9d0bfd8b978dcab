package memcache_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
	"github.com/evmq/evmq/server"
)

// TestAnswersWaitForRoomInTheOutput: with any limits of the server, a client that reads receives all answers in order, also after it has closed its
// sending half, and while the server shuts down.
func TestAnswersWaitForRoomInTheOutput(t *testing.T) {
	for _, maxOutput := range []int{4 << 10, 64 << 10, 1 << 20} {
		for _, end := range []string{"", "half", "shutdown"} {
			t.Run(fmt.Sprintf("%d %s", maxOutput, end), func(t *testing.T) {
				cache, err := memcache.New(&memcache.Config{Clock: newClock()})
				testkit.Must(t, err)
				srv := &server.Server{MaxOutput: maxOutput, HighWater: maxOutput / 4, Logger: slog.New(slog.DiscardHandler)}
				cache.Attach(srv)
				ln, err := srv.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
				testkit.Must(t, err)
				nc, err := net.Dial("tcp", ln.Addr().String())
				testkit.Must(t, err)
				defer nc.Close()
				testkit.Must(t, nc.SetDeadline(time.Now().Add(testTimeout)))
				small, big := strings.Repeat("s", 3000), strings.Repeat("b", 700_000)
				_, err = fmt.Fprintf(nc, "set s 0 0 3000 noreply\r\n%s\r\nset b 0 0 700000 noreply\r\n%s\r\nget s b s s b\r\nget b\r\nversion\r\n", small, big)
				testkit.Must(t, err)
				want := fmt.Sprintf("VALUE s 0 3000\r\n%[1]s\r\nVALUE b 0 700000\r\n%[2]s\r\nVALUE s 0 3000\r\n%[1]s\r\nVALUE s 0 3000\r\n%[1]s\r\nVALUE b 0 700000\r\n%[2]s\r\nEND\r\n"+
					"VALUE b 0 700000\r\n%[2]s\r\nEND\r\nVERSION %[3]s\r\n", small, big, memcache.Version)
				down := make(chan error, 1)
				got := make([]byte, len(want))
				_, err = io.ReadFull(nc, got[:100])
				testkit.Must(t, err)
				switch end {
				case "half":
					testkit.Must(t, nc.(*net.TCPConn).CloseWrite())
				case "shutdown":
					ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
					defer cancel()
					go func() { down <- srv.Shutdown(ctx) }()
				}
				if n, err := io.ReadFull(nc, got[100:]); err != nil || string(got) != want {
					t.Fatalf("after %d of %d bytes: %v", 100+n, len(want), err)
				}
				testkit.Must(t, nc.Close())
				if end == "shutdown" {
					testkit.Must(t, <-down)
				}
				testkit.Must(t, srv.Close())
				testkit.Must(t, cache.Close())
				testkit.Must(t, cache.Close()) // which is no harm
			})
		}
	}
}

// TestTheAnswerToADatagramIsLimited, and so is its memory, whatever the datagram requests.
func TestTheAnswerToADatagramIsLimited(t *testing.T) {
	r := start(t, memcache.Config{})
	r.connect(t).ask("set b 0 0 900000|"+strings.Repeat("b", 900_000), "STORED")
	pc, err := r.srv.ListenPacket(context.Background(), "udp", "127.0.0.1:0", &server.PacketConfig{Handler: r.Packet})
	testkit.Must(t, err)
	nc, err := net.Dial("udp", pc.LocalAddr().String())
	testkit.Must(t, err)
	defer nc.Close()
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testTimeout)))
	before := heap()
	for _, request := range []string{strings.Repeat("mg b v\r\n", 5000), strings.Repeat("get b b b\r\n", 3000), string(frames(2000))} {
		d := binary.BigEndian.AppendUint64(nil, 0x0001_0000_0001_0000)
		_, err := nc.Write(append(d, request...))
		testkit.Must(t, err)
		answer := make([]byte, 2000)
		n, err := nc.Read(answer)
		testkit.Must(t, err)
		if got := string(answer[8:n]); got != "SERVER_ERROR out of memory writing get response\r\n" {
			t.Errorf("the answer is %.60q", got)
		}
	}
	if after := heap(); after > before+16<<20 {
		t.Errorf("%d MB are held, before %d MB", after>>20, before>>20)
	}
	testkit.Must(t, pc.Close())
}

func frames(n int) (b []byte) {
	for range n {
		b = append(b, frame(protocol.BinGet, 0, "", "b", "")...)
	}
	return b
}

// TestAGetMayHaveAnyNumberOfKeys sends a line of more than a megabyte.
func TestAGetMayHaveAnyNumberOfKeys(t *testing.T) {
	c := start(t, memcache.Config{}).connect(t)
	c.ask("get"+strings.Repeat(" absent", 150_000), "END")
}

// TestSlowReadersOfLargeValuesDoNotEndOtherConnections, although each is being sent a value.
func TestSlowReadersOfLargeValuesDoNotEndOtherConnections(t *testing.T) {
	r := start(t, memcache.Config{Memory: 200 << 20, MaxItem: 100 << 20})
	c := r.connect(t)
	const size = 60_000_000
	c.ask(fmt.Sprintf("set b 0 0 %d|%s", size, strings.Repeat("b", size)), "STORED")
	for range 30 { // 1.8 GB, of which there is one
		r.connect(t).send("get b")
	}
	testkit.Until(t, "output of a gigabyte", func() bool { return r.srv.Stats().BufferedBytes > 1<<30 })
	c.ask("get absent", "END")
	r.connect(t).ask("version", "VERSION "+memcache.Version)
}

// TestOnlyOneDumpRunsAtATime: another is refused until the first has ended or its client has closed the connection.
func TestOnlyOneDumpRunsAtATime(t *testing.T) {
	r := start(t, memcache.Config{})
	c := r.connect(t)
	var b strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&b, "set %s%d 0 0 1 noreply\r\nx\r\n", strings.Repeat("k", 100), i)
	}
	c.send(b.String() + "lru_crawler metadump all")
	_, err := c.r.Peek(10)
	testkit.Must(t, err)
	other := r.connect(t)
	other.ask("lru_crawler metadump all", "BUSY currently processing crawler request")
	testkit.Must(t, c.Close())
	testkit.Until(t, "the requests", func() bool {
		other.send("lru_crawler metadump all")
		line, err := other.r.ReadString('\n')
		testkit.Must(t, err)
		return !strings.HasPrefix(line, "BUSY")
	})
}

// TestNoPasswordAndNoValueIsLogged at the highest verbosity.
func TestNoPasswordAndNoValueIsLogged(t *testing.T) {
	var log lockedBuffer
	users, err := memcache.LoadUsers(usersFile(t, "ann:PASSWORD\n"))
	testkit.Must(t, err)
	r := start(t, memcache.Config{Users: users, Verbosity: 2, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	c := r.connect(t)
	c.ask("set x 0 0 12|ann PASSWORD", "STORED")
	c.ask("set k 0 0 20000|"+strings.Repeat("VALUE", 4000), "STORED")
	c.ask("set k 0 0 5|VALUE", "STORED")
	testkit.Until(t, "the second record", func() bool { return strings.Count(log.String(), `line="set k`) == 2 }) // the log is written by a goroutine of its own
	if s := log.String(); strings.Contains(s, "PASSWORD") || strings.Contains(s, "VALUE") {
		t.Errorf("logged: %s", s)
	}
}

// TestConcurrentResetsOfStatsCountNothingTwice, and lose nothing.
func TestConcurrentResetsOfStatsCountNothingTwice(t *testing.T) {
	r := start(t, memcache.Config{})
	c := r.connect(t)
	c.ask("get a", "END")
	var all sync.WaitGroup
	for range 8 {
		other := r.connect(t)
		all.Go(func() {
			for range 200 {
				if _, err := io.WriteString(other, "get a\r\nstats reset\r\n"); err != nil {
					t.Error(err)
					return
				}
				for range 2 {
					if _, err := other.r.ReadString('\n'); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	all.Wait()
	if n := c.stats("")["cmd_get"]; len(n) > 4 {
		t.Errorf("cmd_get is %s", n)
	}
}

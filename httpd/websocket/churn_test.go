package websocket_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd/websocket"
	"github.com/evmq/evmq/internal/testkit"
)

// churn says how many WebSockets are held, and for how long. Each is replaced once in that time.
type churn struct {
	held int
	time time.Duration
}

// parseChurn reads a churn, such as "15000 10m".
func parseChurn(t *testing.T, s string) (c churn) {
	t.Helper()
	var d string
	_, err := fmt.Sscan(s, &c.held, &d)
	testkit.Must(t, err)
	c.time, err = time.ParseDuration(d)
	testkit.Must(t, err)
	return c
}

// The time between two broadcasts, and between two messages of a client, in parts of the time of the churn.
const churnBroadcasts, churnMessages = 100, 20

// used are the resources of the process.
type used struct{ heap, goroutines, descriptors int }

func usedNow(t *testing.T) used {
	t.Helper()
	runtime.GC()
	runtime.GC() // the second one empties the pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fds, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("there is no /proc")
	}
	testkit.Must(t, err)
	return used{int(m.HeapAlloc), runtime.NumGoroutine(), len(fds)}
}

// WebSockets connect, talk and leave in several ways, in another process. Afterwards nothing is left of them, and while they are held, the memory does not
// grow. EVMQ_WS_CHURN="15000 10m" is the long form.
func TestNothingIsLeftAfterAChurn(t *testing.T) {
	form := os.Getenv("EVMQ_WS_CHURN")
	if form == "" {
		form = "200 1s"
	}
	if addr := os.Getenv("EVMQ_WS_CHURN_ADDR"); addr != "" {
		parseChurn(t, form).clients(t, addr)
		return
	}
	c := parseChurn(t, form)
	var g websocket.Group
	s := start(t, &websocket.Config{Message: echo, Deflate: true, PingInterval: c.time / (2 * churnMessages), Closed: func(*websocket.Conn, *websocket.CloseError) {},
		Opened: func(c *websocket.Conn, _ *http.Request) { _ = g.Add(c) }}) // fails if it has ended
	churn{200, time.Second / 4}.run(t, s, &g) // makes what is kept: pools, tables, workers
	before := usedNow(t)
	c.run(t, s, &g)
	after := usedNow(t)
	t.Logf("before %+v, after %+v, %+v", before, after, s.handler.Stats())
	if after.heap > before.heap+256<<10+64*c.held || after.goroutines > before.goroutines+2 || after.descriptors > before.descriptors {
		t.Errorf("before the churn %+v are used, and afterwards %+v", before, after)
	}
	testkit.WantEqual(t, "members of the group", g.Len(), 0)
	testkit.WantEqual(t, "bytes of fragments", s.handler.Stats().FragmentBytes, 0)
}

// run runs the clients in another process, and broadcasts to them meanwhile.
func (c churn) run(t *testing.T, s *site, g *websocket.Group) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout="+(3*c.time+time.Minute).String())
	cmd.Env = append(os.Environ(), "EVMQ_WS_CHURN_ADDR="+s.addr, fmt.Sprintf("EVMQ_WS_CHURN=%d %v", c.held, c.time))
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	testkit.Must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	c.broadcast(t, g, ended)
	t.Log(output.String())
	testkit.Until(t, "the end of all WebSockets", func() bool { return s.handler.Stats().Open == 0 && g.Len() == 0 })
}

// broadcast broadcasts numbers until the clients have ended, and compares the memory that is used while nearly all WebSockets are held. Some of them
// are connecting or have output at any time, so that the lowest figures are compared.
func (c churn) broadcast(t *testing.T, g *websocket.Group, ended chan error) {
	t.Helper()
	var accepted, outcomes atomic.Int64
	delivered := func() bool { return outcomes.Load() == accepted.Load() }
	var held []int // bytes of memory
	tick := time.NewTicker(c.time / churnBroadcasts)
	defer tick.Stop()
	for n := uint64(1); ; n++ {
		select {
		case err := <-ended:
			testkit.CheckErr(t, "the clients", err, nil)
			testkit.Until(t, "the outcomes of the broadcasts", delivered)
			if half := len(held) / 2; half > 0 && slices.Min(held[half:]) > slices.Min(held[:half])*5/4+256<<10 {
				t.Errorf("in bytes, the memory was %d: it has grown", held)
			}
			return
		case <-tick.C:
		}
		if n%(churnBroadcasts/10) == 0 && g.Len() >= c.held*9/10 {
			testkit.Until(t, "the outcomes of the broadcasts", delivered)
			now := usedNow(t)
			t.Logf("%d are held: %+v", g.Len(), now)
			held = append(held, now.heap)
		}
		m := prepared(t, websocket.Binary, string(binary.BigEndian.AppendUint64(nil, n))+hello)
		members := g.Members()
		accepted.Add(int64(len(members)))
		refused := websocket.Broadcast(members, m, func(*websocket.Conn, error) { outcomes.Add(1) })
		accepted.Add(-int64(len(refused)))
	}
}

// clients holds WebSockets until the time has passed.
func (c churn) clients(t *testing.T, addr string) {
	var all sync.WaitGroup
	var messages, broadcasts atomic.Int64
	connects := make(chan struct{}, 64) // limits those that connect at the same time
	end := time.Now().Add(c.time)
	for range c.held {
		all.Go(func() {
			leaves := time.Now().Add(rand.N(c.time))
			for _, until := range []time.Time{leaves, end} {
				w := churner{messages: &messages, broadcasts: &broadcasts, pause: c.time / churnMessages}
				connects <- struct{}{}
				err := w.connect(addr)
				<-connects
				if err == nil {
					err = w.talk(until)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	fmt.Printf("%d WebSockets, %d messages, %d broadcasts\n", 2*c.held, messages.Load(), broadcasts.Load())
}

// A churner is a client.
type churner struct {
	net.Conn
	r                    *bufio.Reader
	pause                time.Duration
	messages, broadcasts *atomic.Int64
	last                 uint64 // the number of the last broadcast
}

func (w *churner) connect(addr string) (err error) {
	if w.Conn, err = net.Dial("tcp", addr); err != nil {
		return err
	}
	w.r = bufio.NewReaderSize(w.Conn, 2<<10)
	if _, err = io.WriteString(w.Conn, handshake+"\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return resp.Body.Close()
}

// talk sends messages and reads until the time, and then leaves in one of several ways.
func (w *churner) talk(until time.Time) error {
	defer w.Close()
	for n := 0; time.Now().Before(until); n++ {
		m := fmt.Sprintf("message %d", n)
		if _, err := w.Write(text(m)); err != nil {
			return err
		}
		if err := w.readUntil(m, time.Now().Add(time.Minute)); err != nil {
			return err
		}
		w.messages.Add(1)
		next := time.Now().Add(w.pause/2 + rand.N(w.pause))
		if next.After(until) {
			next = until
		}
		if err := w.readUntil("", next); err != nil {
			return err
		}
	}
	switch rand.IntN(4) {
	case 0:
		return w.Conn.(*net.TCPConn).SetLinger(0) // a reset
	case 1:
		_, err := w.Write(text(hello)[:100]) // a part of a frame
		return err
	case 2:
		_, err := w.Write(frame(opText, hello)) // a part of a message
		return err
	}
	if _, err := w.Write(frame(0x80|opClose, closing(1000, ""))); err != nil {
		return err
	}
	return w.readUntil(closing(1000, ""), time.Now().Add(time.Minute))
}

// readUntil reads frames up to one with the payload, or until the time if it is empty. It checks that the broadcasts are complete.
func (w *churner) readUntil(payload string, deadline time.Time) error {
	for {
		if err := w.SetReadDeadline(deadline); err != nil {
			return err
		}
		head, err := w.r.Peek(2)
		if err != nil && payload == "" && time.Now().After(deadline) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := w.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			return err
		}
		n, size := 2, int(head[1])
		if size == 126 {
			if head, err = w.r.Peek(4); err != nil {
				return err
			}
			n, size = 4, int(binary.BigEndian.Uint16(head[2:]))
		}
		isPing := head[0] == 0x80|opPing
		p := make([]byte, n+size)
		if _, err := io.ReadFull(w.r, p); err != nil {
			return err
		}
		switch p = p[n:]; {
		case isPing: // after PingInterval, in the long form
			if _, err := w.Write(frame(0x80|opPong, string(p))); err != nil {
				return err
			}
			continue
		case payload != "" && string(p) == payload:
			return nil
		case len(p) != 8+len(hello):
			return fmt.Errorf("the frame is %q; want %q", brief(string(p)), payload)
		}
		number := binary.BigEndian.Uint64(p)
		if w.last != 0 && number != w.last+1 {
			return fmt.Errorf("broadcast %d follows %d", number, w.last)
		}
		w.last = number
		w.broadcasts.Add(1)
	}
}

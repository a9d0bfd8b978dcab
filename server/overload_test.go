package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// Clients that send much and read nothing are closed with ErrOverload before the server holds much more than MaxBuffered. The excess is
// the output that workers have just written.
func TestMaxBufferedHoldsForAnswersAndRequests(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	big := bytes.Repeat([]byte("x"), 100<<10)
	answer := func(w server.Reply, _ []byte) { _, _ = w.Write(big) } // fails when the connection is closed
	block := func(w server.Reply, _ []byte) { <-w.Context().Done() }
	for name, d := range map[string]*server.Dispatcher{
		"answers":             {Serve: answer},
		"concurrent answers":  {Serve: answer, Concurrent: 3},
		"requests":            {Serve: block},
		"concurrent requests": {Serve: block, Concurrent: 3},
	} {
		t.Run(name, func(t *testing.T) {
			reasons, closed := closings()
			d.Framing, d.Closed = framing.Lines{}, closed
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d, MaxBuffered: limit, Socket: tight(), CloseTimeout: brief})
			for range 100 {
				nc := s.dial(t)
				go func() { _, _ = nc.Write(bytes.Repeat([]byte("0123456789abcde\n"), 4<<10)) }()
			}
			peak, last, still := int64(0), int64(0), 0
			testkit.Until(t, "the end of many clients, and a time without a change", func() bool {
				n := s.Stats().BufferedBytes
				if still++; n != last {
					still = 0
				}
				last, peak = n, max(peak, n)
				return len(reasons) >= 50 && still >= 300
			})
			if peak > 2*limit {
				t.Errorf("the server holds %d bytes, the limit is %d", peak, limit)
			}
			testkit.Must(t, s.Close())
			if hasUserExecutor() { // Close does not wait until it has run the jobs of requests that have ended
				testkit.Until(t, "the end of the jobs that are left", func() bool { return s.Stats().BufferedBytes == 0 })
			}
			if n := s.Stats().BufferedBytes; n != 0 {
				t.Errorf("%d bytes are left", n)
			}
			cut := 0
			for range 100 {
				if errors.Is(testkit.Await(t, reasons, "Close"), server.ErrOverload) {
					cut++
				}
			}
			if cut < 50 {
				t.Errorf("%d clients were cut off", cut)
			}
		})
	}
}

// The text and the answers are made at the same time.
func TestTheTextOfAnErrorFollowsTheEarlierAnswers(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		for _, concurrent := range []int{0, 4} {
			reasons, closed := closings()
			s := start(t, r, &server.Server{Handler: &server.Dispatcher{
				Framing: framing.LengthPrefix{Size: 4, Order: binary.BigEndian, Max: 1000}, Concurrent: concurrent,
				Serve: func(w server.Reply, _ []byte) {
					time.Sleep(time.Millisecond)
					_, _ = w.WriteString("answer ")
				},
				Malformed: func(c *server.Conn, _ error) { _, _ = c.WriteString("error") },
				Closed:    closed,
			}})
			nc := s.dial(t)
			send(t, nc, "\x00\x00\x00\x01a\x00\x00\x00\x01b\x00\x00\x00\x01c\xff\xff\xff\xff")
			got, err := io.ReadAll(nc)
			if want := "answer answer answer error"; string(got) != want || err != nil {
				t.Errorf("Concurrent %d: read %q, %v; want %q", concurrent, got, err, want)
			}
			hangUp(nc)
			testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), framing.ErrTooLong)
		}
	})
}

// unread is a connection that a client writes to and does not read.
type unread struct {
	net.Conn
	closed chan struct{}
}

func (m unread) Read([]byte) (int, error) { <-m.closed; return 0, io.EOF }

// Clients that stop after their ClientHello do not prevent later handshakes, although MaxHandshakes are running and no deadline ends
// them.
func TestSilentHandshakesAreEndedWhileOthersWait(t *testing.T) {
	const most = 3
	rejected := make(chan error, 100)
	s, clock := startWithClock(t, rig{"tcp", true, 2}, &server.Server{Handler: calls{data: echo}, MaxHandshakes: most, HandshakeTimeout: -1,
		OnReject: func(_ *server.Conn, reason error) { rejected <- reason }})
	closed := make(chan struct{})
	defer close(closed)
	for range 3 * most {
		go func() { _ = tls.Client(unread{s.dialPlain(t), closed}, clientTLS()).Handshake() }()
	}
	testkit.Until(t, "the silent clients' turn", func() bool { return server.WaitingHandshakes(s.Server) == 2*most })
	nc := s.dial(t) // none of the others is behind it, so that its handshake may take any time
	served := make(chan error, 1)
	go func() { served <- pipelined(nc, "hello", 2) }()
	testkit.Until(t, "the answers", func() bool {
		clock.Advance(50 * time.Millisecond)
		return len(served) > 0
	})
	testkit.Must(t, <-served)
	testkit.CheckErr(t, "OnReject", testkit.Await(t, rejected, "OnReject"), server.ErrHandshake)
	hangUp(nc)
}

// The peer is silent.
func TestShutdownEndsADialDuringItsHandshake(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer silent.Close()
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{}})
	h := newCaller()
	_, err = s.Dial(context.Background(), "tcp", silent.Addr().String(), &server.DialConfig{Handler: h, TLS: clientTLS(), Timeout: -1})
	testkit.Must(t, err)
	nc, err := silent.Accept()
	testkit.Must(t, err)
	defer nc.Close()
	if _, err := io.ReadFull(nc, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	s.shutdown(t)
	h.failed(t, server.ErrServerClosed)
}

// A shutdown whose context has ended gives them a short time.
func TestHandlersThatWatchTheirContextAreAwaited(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		running := make(chan struct{}, 8)
		s := start(t, r, &server.Server{Workers: 8, Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) {
			running <- struct{}{}
			<-w.Context().Done()
		})})
		for range 8 {
			send(t, s.dial(t), "wait\n")
			testkit.Await(t, running, "the handler")
		}
		err := s.Shutdown(endedContext(context.Canceled))
		var late *server.ShutdownError
		if !errors.As(err, &late) || late.Handlers != 0 || late.Conns != 8 {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// A connection that is served in every turn still has its deadlines.
func TestATimerThatHasExpiredIsNotSetAgain(t *testing.T) {
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p, WriteTimeout: 50 * time.Millisecond, Socket: tight()})
	c, _ := p.connect(t, s)
	_, err := c.Write(make([]byte, 4<<20)) // the client does not read
	testkit.Must(t, err)
	for end := time.Now().Add(testkit.Patience); time.Now().Before(end); {
		c.PauseRead(nil) // makes the loop serve the connection
		c.ResumeRead(nil)
		select {
		case reason := <-p.closed:
			testkit.CheckErr(t, "Close", reason, server.ErrWriteTimeout)
			return
		default:
		}
	}
	t.Error("the write timeout does not come")
}

// A client that requests new keys without end and reads nothing is closed.
func TestEvenAnswersToKeyUpdatesAreBounded(t *testing.T) {
	p := newProbe(calls{})
	s := start(t, rig{"tcp", true, 1}, &server.Server{Handler: p, Socket: tight()})
	nc := s.dialPlain(t)
	var keys strings.Builder
	config := clientTLS()
	config.KeyLogWriter, config.MinVersion = &keys, tls.VersionTLS13
	client := tls.Client(nc, config)
	testkit.Must(t, client.Handshake())
	w := newRecordWriter(t, client.ConnectionState().CipherSuite, keys.String())
	for {
		var out []byte
		for range 500 {
			out = w.keyUpdate(out)
		}
		if _, err := nc.Write(out); err != nil {
			break
		}
	}
	testkit.CheckErr(t, "Close", testkit.Await(t, p.closed, "Close"), server.ErrOverload)
}

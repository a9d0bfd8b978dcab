package server_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// readSomehow reads n bytes of in by random calls and returns their sum.
func readSomehow(rnd *rand.Rand, in server.Input, n int) (uint32, error) {
	sum := crc32.NewIEEE()
	buf := make([]byte, 1+rnd.IntN(100<<10))
	for left := n; left > 0; {
		if rnd.IntN(4) == 0 {
			if err := in.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
				return 0, err
			}
		}
		m := min(left, 1+rnd.IntN(len(buf)))
		switch rnd.IntN(3) {
		case 0:
			k, err := in.Read(buf[:m])
			if err != nil {
				return 0, err
			}
			m = k
			sum.Write(buf[:m])
		case 1:
			m = min(m, server.DefaultMaxInput)
			p, err := in.Peek(m)
			if err != nil {
				return 0, err
			}
			sum.Write(p)
			if _, err = in.Discard(m); err != nil {
				return 0, err
			}
		case 2:
			p, err := in.Peek(0)
			if err != nil {
				return 0, err
			}
			m = min(left, len(p))
			sum.Write(p[:m])
			if _, err = in.Discard(m); err != nil {
				return 0, err
			}
			if m == 0 {
				runtime.Gosched()
			}
		}
		left -= m
	}
	return sum.Sum32(), nil
}

// somehow answers requests with the sum of their bodies. It reads and answers in its function or later, on the loop or not.
func somehow(p server.Placement) *server.Dispatcher {
	return withBodies(p, func(w server.Reply, _ io.Reader, n int) {
		rnd := rand.New(rand.NewPCG(rand.Uint64(), 0)) //nolint:gosec // not for secrets
		answer := func() {
			sum, err := readSomehow(rnd, w.Input(), n)
			if err != nil {
				_, _ = fmt.Fprintf(w, "%v\n", err) // fails, too
				return
			}
			_, _ = fmt.Fprintf(w, "%d %d\n", n, sum)
		}
		if rnd.IntN(3) == 0 && w.Defer(time.Hour) == nil {
			go func() {
				answer()
				_ = w.Close() // fails if the connection has ended
			}()
			return
		}
		if rnd.IntN(4) == 0 {
			w.Blocking()
		}
		answer()
	})
}

// bodyClient sends requests with bodies, several at once and in pieces, and checks the answers. In the end it closes or resets the connection,
// perhaps in the middle of a body.
func bodyClient(rnd *rand.Rand, nc net.Conn, requests int) error {
	var all, want bytes.Buffer
	for range requests {
		body := noise(rnd.IntN(1 << (4 + rnd.IntN(15))))
		fmt.Fprintf(&all, "%d\n%s", len(body), body)
		fmt.Fprintf(&want, "%d %d\n", len(body), crc32.ChecksumIEEE(body))
		if rnd.IntN(2) == 0 {
			all.WriteString("now\n")
			want.WriteString("now\n")
		}
	}
	sent := make(chan error, 1)
	go func() {
		p := all.Bytes()
		for len(p) > 0 {
			m := min(len(p), 1+rnd.IntN(1<<(3+rnd.IntN(15))))
			if _, err := nc.Write(p[:m]); err != nil {
				sent <- err
				return
			}
			p = p[m:]
		}
		sent <- nil
	}()
	got := make([]byte, want.Len())
	if n, err := io.ReadFull(nc, got); err != nil {
		return fmt.Errorf("%d of %d bytes: %w", n, len(got), err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		return errors.New("the answers are wrong")
	}
	err := <-sent
	switch rnd.IntN(3) {
	case 0:
		_, _ = nc.Write([]byte(strconv.Itoa(1<<20) + "\nabc"))
		if tcp, ok := nc.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	case 1:
		_, _ = nc.Write([]byte(strconv.Itoa(1<<20) + "\n" + string(noise(rnd.IntN(100000)))))
	}
	return errors.Join(err, nc.Close())
}

// Requests of many clients, with bodies of all sizes that are read in all ways. Each body is read whole, and each request answered once and in
// order; nothing is left in the end.
func TestBodiesAreReadWholeWhateverHappens(t *testing.T) {
	t.Parallel()
	rounds := 2
	if testkit.Full() {
		rounds = 20
	}
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		for _, cancels := range []bool{false, true} {
			d := somehow(p)
			d.CancelOnEOF = cancels
			s := start(t, r, &server.Server{Workers: 3, Handler: d})
			var clients sync.WaitGroup
			for i := range 8 {
				clients.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(i), 1)) //nolint:gosec // not for secrets
					for range rounds {
						nc, err := net.DialTimeout(s.addr.Network(), s.addr.String(), testkit.Patience)
						if err == nil {
							_ = nc.SetDeadline(time.Now().Add(testkit.Patience))
							if r.tls {
								nc = tls.Client(nc, clientTLS())
							}
							err = bodyClient(rnd, nc, 12)
						}
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			clients.Wait()
			s.shutdown(t)
			s.drained(t)
		}
	})
}

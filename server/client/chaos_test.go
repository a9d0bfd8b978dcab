package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/client"
	"github.com/evmq/evmq/server/framing"
)

// misbehaves answers lines, some in pieces, and ends the connection in different ways at random times.
func misbehaves(_ int, nc net.Conn, lines *bufio.Reader) {
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		switch rand.IntN(30) {
		case 0:
			return
		case 1:
			_ = nc.(*net.TCPConn).SetLinger(0)
			return
		case 2: // too long
			_, _ = io.WriteString(nc, strings.Repeat("x", 300))
			_, _ = io.Copy(io.Discard, nc)
			return
		case 3: // never answers
			_, _ = io.Copy(io.Discard, nc)
			return
		case 4, 5, 6, 7:
			n := rand.IntN(len(line))
			_, _ = io.WriteString(nc, line[:n])
			if rand.IntN(4) == 0 {
				return
			}
			runtime.Gosched()
			line = line[n:]
		}
		if _, err = io.WriteString(nc, line); err != nil {
			return
		}
	}
}

// Whatever the peer does and whenever contexts end, each call gets its own answer or an error, and in the end nothing is left.
func TestAPeerThatMisbehavesDoesNotMixAnswers(t *testing.T) {
	for _, pipeline := range []int{1, 4} {
		_, c := newPeer(t, misbehaves)
		c.Framing, c.Pipeline, c.MaxConns, c.MaxWaiting = framing.Delimiter{Delim: []byte("\n"), Max: 200}, pipeline, 4, 20
		c.Idempotent = func(p []byte) bool { return p[0] == 'i' }
		c.MaxRequests = 100
		var answered, failed atomic.Int32
		testkit.Within(t, "the calls", func() {
			var all sync.WaitGroup
			for g := range 30 {
				all.Go(func() {
					for i := range 50 {
						ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+rand.IntN(20))*time.Millisecond)
						want := fmt.Sprintf("%c call %d of %d", "in"[rand.IntN(2)], i, g)
						answer, err := c.Do(ctx, []byte(want+"\n"))
						cancel()
						switch {
						case err == nil && string(answer) == want:
							answered.Add(1)
						case errors.Is(err, client.ErrNoAnswer) || errors.Is(err, context.DeadlineExceeded) || isFull(err):
							failed.Add(1)
						default:
							t.Errorf("the answer to %q is %q, %v", want, answer, err)
						}
					}
				})
			}
			all.Wait()
		})
		t.Logf("%d answered, %d failed; %+v", answered.Load(), failed.Load(), c.Stats())
		if answered.Load() == 0 {
			t.Error("no call was answered")
		}
		s := c.Stats()
		if s.ActiveRequests < 0 || s.WaitingCalls != 0 || s.OpenConns+s.DialingConns > 4 || s.Errors != uint64(failed.Load()) || s.Answers != uint64(answered.Load()) {
			t.Errorf("%+v", s)
		}
		testkit.Must(t, c.Close())
		untilStats(t, c, "no connection", func(s client.Stats) bool { return s.OpenConns+s.DialingConns+s.ActiveRequests == 0 })
	}
}

// isFull reports whether a call was refused because MaxWaiting calls wait.
func isFull(err error) bool { return errors.Is(err, server.ErrFull) }

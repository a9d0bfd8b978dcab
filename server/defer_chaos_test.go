package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// answerSomehow answers a request in one of the ways that Defer permits, chosen at random. all counts the goroutines that it starts.
func answerSomehow(w server.Reply, line string, all *sync.WaitGroup) error {
	text := line + strings.Repeat("x", rand.IntN(100)*rand.IntN(300)) + "\n"
	write := func(part string) error { return second(w.WriteString(part)) }
	how := rand.IntN(6)
	if how == 0 {
		return write(text)
	}
	if rand.IntN(20) == 0 {
		time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
	}
	if err := w.Defer(time.Hour); err != nil {
		return err
	}
	if how == 1 {
		return errors.Join(write(text), w.Close())
	}
	half := rand.IntN(len(text))
	early := write(text[:half])
	all.Go(func() {
		if how == 2 {
			time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
		}
		var flush error
		if how == 3 {
			flush = w.Flush()
		}
		rest := write(text[half:])
		if err := errors.Join(flush, rest, w.Close()); err != nil && !errors.Is(err, server.ErrClosed) {
			panic(err)
		}
	})
	return early
}

// Requests are answered at once, later, and while their functions run, with each placement and number of concurrent requests. Each is
// answered once, in order. Then connections end while replies are open, and nothing is left.
func TestDeferredRepliesAreAnsweredOnceInOrder(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r rig) {
		for _, concurrent := range []int{1, 4} {
			for _, p := range placements {
				t.Run(fmt.Sprint(p, concurrent), func(t *testing.T) {
					var all sync.WaitGroup
					d := several(concurrent, func(w server.Reply, line []byte) {
						if err := answerSomehow(w, string(line), &all); err != nil && !errors.Is(err, server.ErrClosed) {
							t.Error(err)
						}
					})
					d.Placement = p
					s := start(t, r, &server.Server{Handler: d, Workers: 4})
					requests := 50
					if testkit.Full() {
						requests = 1000
					}
					var clients sync.WaitGroup
					for range 4 {
						clients.Go(func() { wantAnswers(t, s.dial(t), requests) })
					}
					for range 4 {
						clients.Go(func() { leaveEarly(t, s.dial(t), requests) })
					}
					clients.Wait()
					testkit.Until(t, "the end of all connections", func() bool { return s.Stats().OpenConns == 0 })
					all.Wait()
					s.shutdown(t)
					if st := s.Stats(); st.BufferedBytes != 0 || st.DeferredReplies != 0 {
						t.Errorf("%d bytes buffered, %d deferred replies", st.BufferedBytes, st.DeferredReplies)
					}
				})
			}
		}
	})
}

// wantAnswers sends numbers and expects them back, in order.
func wantAnswers(t *testing.T, nc net.Conn, requests int) {
	defer hangUp(nc)
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		for i := range requests {
			if _, err := fmt.Fprintf(nc, "%d \n", i); err != nil {
				return // shows in the answers
			}
		}
		_ = nc.(halfCloser).CloseWrite()
	})
	in := bufio.NewReader(nc)
	for i := range requests {
		giveTime(t, nc)
		line, err := in.ReadString('\n')
		number, rest, _ := strings.Cut(line, " ")
		if err != nil || number != fmt.Sprint(i) || strings.Trim(rest, "x") != "\n" {
			t.Errorf("answer %d is %.40q, %v", i, line, err)
			return
		}
	}
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		t.Errorf("after the last answer: %.40q, %v", rest, err)
	}
}

// leaveEarly sends numbers and closes or resets the connection after some answers.
func leaveEarly(t *testing.T, nc net.Conn, requests int) {
	go func() {
		for i := range requests {
			if _, err := fmt.Fprintf(nc, "%d \n", i); err != nil {
				return // it was closed
			}
		}
	}()
	in := bufio.NewReader(nc)
	for range rand.IntN(requests) {
		giveTime(t, nc)
		if _, err := in.ReadString('\n'); err != nil {
			t.Error(err)
			return
		}
	}
	if rand.IntN(2) == 0 {
		reset(t, nc)
	}
	hangUp(nc)
}

package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// A held reply is a deferred one, with the request that it answers.
type held struct {
	server.Reply
	line string
}

// deferring returns a Dispatcher of lines. It defers the reply to each line, and passes the reply to replies; the line "now" it answers
// itself.
func deferring(t *testing.T, concurrent int) (d *server.Dispatcher, replies chan held) {
	replies = make(chan held, 1000)
	return several(concurrent, func(w server.Reply, line []byte) {
		if string(line) == "now" {
			_, _ = w.WriteString("now\n")
			return
		}
		if err := w.Defer(time.Hour); err != nil {
			t.Errorf("Defer: %v", err)
		}
		_, _ = fmt.Fprintf(w, "%s: ", line)
		replies <- held{w, string(line)}
	}), replies
}

// finish writes the rest of a deferred answer and ends it.
func finish(t testing.TB, w server.Reply, text string) {
	t.Helper()
	if _, err := w.WriteString(text); err != nil {
		t.Errorf("Write: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// deferred waits until so many replies are open whose functions have returned.
func (s *running) deferred(t testing.TB, n int) {
	t.Helper()
	testkit.Until(t, fmt.Sprintf("%d deferred replies", n), func() bool { return s.Stats().DeferredReplies == n })
}

// With one worker, many requests are deferred, and others are answered meanwhile. The answers come from another goroutine.
func TestADeferredReplyHoldsNoGoroutine(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		const n = 20
		d, replies := deferring(t, 1)
		d.Placement = p
		s := start(t, r, &server.Server{Workers: 1, Handler: d})
		waiting := map[*server.Conn]held{}
		for range n {
			nc := s.dial(t)
			send(t, nc, "later\n")
			w := testkit.Await(t, replies, "a request")
			waiting[w.Conn()] = w
			defer expect(t, nc, "later: done\nnow\n")
			defer send(t, nc, "now\n")
		}
		other := s.dial(t)
		send(t, other, "now\nnow\n")
		expect(t, other, "now\nnow\n")
		s.deferred(t, n)
		testkit.Until(t, "idle workers", func() bool { return s.Stats().RunningRequests == 0 })
		for _, w := range waiting {
			finish(t, w.Reply, "done\n")
		}
		s.deferred(t, 0)
	})
}

// The next request begins when the reply was closed.
func TestTheNextRequestWaitsForADeferredReply(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		d, replies := deferring(t, 1)
		d.Placement = p
		s := start(t, r, &server.Server{Handler: d})
		nc, other := s.dial(t), s.dial(t)
		send(t, nc, "a\nb\nnow\nc\n")
		for _, name := range []string{"a: ", "b: ", "now\nc: "} {
			w := testkit.Await(t, replies, "a request")
			send(t, other, "now\n") // after that, a further request would have begun
			expect(t, other, "now\n")
			if len(replies) > 0 {
				t.Fatal("the next request has begun")
			}
			finish(t, w.Reply, "done\n")
			expect(t, nc, name+"done\n")
		}
		closeWrite(t, nc)
		expectEOF(t, nc)
		hangUp(other)
		s.shutdown(t)
		if st := s.Stats(); st.BufferedBytes != 0 || st.Requests != 7 {
			t.Errorf("%d bytes buffered, %d requests", st.BufferedBytes, st.Requests)
		}
	})
}

// The last one is closed first. Requests between them are answered at once.
func TestDeferredRepliesOfConcurrentRequestsAreSentInOrder(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		d, replies := deferring(t, 6)
		d.Placement = p
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "a\nnow\nb\nnow\nc\n")
		all := map[string]server.Reply{}
		for range 3 {
			w := testkit.Await(t, replies, "a request")
			all[w.line] = w.Reply
		}
		s.deferred(t, 3)
		finish(t, all["c"], "done\n")
		finish(t, all["b"], "done\n")
		s.deferred(t, 1)
		send(t, nc, "d\n")
		finish(t, testkit.Await(t, replies, "a request").Reply, "done\n")
		if n := all["a"].Conn().Stats().BytesWritten; n != 0 {
			t.Errorf("%d bytes were sent before the oldest answer", n)
		}
		finish(t, all["a"], "done\n")
		expect(t, nc, "a: done\nnow\nb: done\nnow\nc: done\nd: done\n")
		closeWrite(t, nc)
		expectEOF(t, nc)
		s.shutdown(t)
		if st := s.Stats(); st.BufferedBytes != 0 || st.Requests != 6 {
			t.Errorf("%d bytes buffered, %d requests", st.BufferedBytes, st.Requests)
		}
	})
}

// Bytes, strings, owned slices and files follow one another, and each notification tells that the kernel has them.
func TestADeferredReplyAcceptsAllThatAReplyAccepts(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		d, replies := deferring(t, 1)
		d.Placement = p
		s := start(t, r, &server.Server{Handler: d})
		name := t.TempDir() + "/file"
		testkit.Must(t, os.WriteFile(name, []byte("of a file"), 0o600))
		f, err := os.Open(name)
		testkit.Must(t, err)
		defer f.Close()
		nc := s.dial(t)
		send(t, nc, "parts\n")
		w := testkit.Await(t, replies, "a request")
		s.deferred(t, 1)
		reported := make(chan error, 3)
		done := func(err error) { reported <- err }
		long := strings.Repeat("long ", 20<<10)
		for _, add := range []func() error{
			func() error { return second(w.Write([]byte("bytes, "))) },
			func() error { return second(w.WriteString("string, ")) },
			w.Flush,
			func() error { return w.WriteOwned([]byte("owned, "), done) },
			func() error { return w.SendFile(f, 0, 9, done) },
			func() error { return second(w.WriteString(long)) },
			func() error { return w.Notify(done) },
		} {
			testkit.Must(t, add())
		}
		expect(t, nc, "parts: bytes, string, owned, of a file"+long)
		for range 3 {
			testkit.Must(t, testkit.Await(t, reported, "a notification"))
		}
		testkit.Must(t, w.Context().Err())
		finish(t, w.Reply, "end\n")
		expect(t, nc, "end\n")
	})
}

// Other output of the connection follows when the reply is closed, if a part of the reply was sent, and otherwise before it.
func TestTheBytesOfADeferredReplyAreContiguous(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		d, replies := deferring(t, 1)
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "a\n")
		w := testkit.Await(t, replies, "a request")
		testkit.Must(t, second(w.Conn().WriteString("other\n")))
		expect(t, nc, "other\n")
		long := strings.Repeat("x", 40<<10)
		testkit.Must(t, second(w.WriteString(long)))
		testkit.Must(t, second(w.Conn().WriteString("later\n")))
		finish(t, w.Reply, "end\n")
		expect(t, nc, "a: "+long+"end\nlater\n")
	})
}

// Every method that writes fails, and so does a second Close, also of a copy, and when the next request is in progress.
func TestAReplyAcceptsNothingAfterItsClose(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		d, replies := deferring(t, 1)
		d.Placement = p
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "a\nb\n")
		w := testkit.Await(t, replies, "a request")
		finish(t, w.Reply, "done\n")
		next := testkit.Await(t, replies, "the next request")
		testkit.CheckErr(t, "Write", second(w.Write([]byte("x"))), server.ErrReplyEnded)
		testkit.CheckErr(t, "WriteOwned", w.WriteOwned([]byte("x"), nil), server.ErrReplyEnded)
		testkit.CheckErr(t, "Flush", w.Flush(), server.ErrReplyEnded)
		testkit.CheckErr(t, "Notify", w.Notify(func(error) {}), server.ErrReplyEnded)
		testkit.CheckErr(t, "Defer", w.Defer(0), server.ErrReplyEnded)
		testkit.CheckErr(t, "Close", w.Close(), server.ErrReplyEnded)
		testkit.CheckErr(t, "Close of the zero Reply", server.Reply{}.Close(), server.ErrReplyEnded)
		finish(t, next.Reply, "done\n")
		expect(t, nc, "a: done\nb: done\n")
	})
}

// Close of another reply fails, since that reply ends with its function, and changes nothing.
func TestCloseIsForDeferredReplies(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		errs := make(chan error, 1)
		s := start(t, r, &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) {
			errs <- w.Close()
			_, _ = w.WriteString("answer\n")
		})})
		nc := s.dial(t)
		send(t, nc, "a\n")
		testkit.CheckErr(t, "Close", testkit.Await(t, errs, "Close"), server.ErrInvalid)
		expect(t, nc, "answer\n")
	})
}

// The reply accepts nothing any more, and the answer is sent when the function returns.
func TestADeferredReplyMayBeClosedWhileItsFunctionRuns(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		for _, concurrent := range []int{1, 3} {
			errs := make(chan [2]error, 2)
			d := several(concurrent, func(w server.Reply, line []byte) {
				err := w.Defer(-1)
				closed := make(chan error)
				go func() {
					_, e := w.Write(append(line, '\n'))
					closed <- errors.Join(err, e, w.Close())
				}()
				err = <-closed
				_, e := w.WriteString("more")
				errs <- [2]error{err, e}
			})
			d.Placement = p
			s := start(t, r, &server.Server{Handler: d})
			nc := s.dial(t)
			send(t, nc, "a\nb\n")
			for range 2 {
				got := testkit.Await(t, errs, "Close and Write")
				testkit.Must(t, got[0])
				testkit.CheckErr(t, "Write", got[1], server.ErrReplyEnded)
			}
			expect(t, nc, "a\nb\n")
			hangUp(nc)
			s.shutdown(t)
			if st := s.Stats(); st.BufferedBytes != 0 || st.Requests != 2 || st.DeferredReplies != 0 {
				t.Errorf("%d bytes buffered, %d requests, %d deferred", st.BufferedBytes, st.Requests, st.DeferredReplies)
			}
		}
	})
}

// The function has called Blocking, or was blocked until another goroutine led the loop, before it returns.
func TestAReplyMayBeDeferredAfterTheLeadershipWasTaken(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		for name, block := range map[string]func(w server.Reply, resume chan struct{}){
			"Blocking": func(w server.Reply, _ chan struct{}) { w.Blocking() },
			"blocked":  func(_ server.Reply, resume chan struct{}) { <-resume },
		} {
			t.Run(name, func(t *testing.T) {
				resume, replies := make(chan struct{}), make(chan server.Reply, 1)
				d := several(1, func(w server.Reply, line []byte) {
					if string(line) == "now" {
						_, _ = w.WriteString("now\n")
						return
					}
					block(w, resume)
					if err := w.Defer(0); err != nil {
						t.Errorf("Defer: %v", err)
					}
					block(w, resume)
					replies <- w
				})
				d.Placement = server.OnLoop
				s := start(t, r, &server.Server{Handler: d})
				nc, other := s.dial(t), s.dial(t)
				send(t, nc, "a\n")
				for range 2 {
					send(t, other, "now\n")
					expect(t, other, "now\n")
					if name == "blocked" {
						resume <- struct{}{}
					}
				}
				w := testkit.Await(t, replies, "the reply")
				s.deferred(t, 1)
				finish(t, w, "done\n")
				expect(t, nc, "done\n")
			})
		}
	})
}

// Callbacks of the loop may write to it and end it, also while its function and other goroutines use it. Since none of these calls waits,
// none returns ErrOnLoop.
func TestADeferredReplyMayBeClosedOnTheLoop(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		for _, concurrent := range []int{1, 3} {
			const requests = 50
			d := several(concurrent, func(w server.Reply, line []byte) {
				answer := string(line) + "\n"
				if err := w.Defer(time.Hour); err != nil {
					t.Errorf("Defer: %v", err)
				}
				w.Conn().AfterFunc(0, func() { finish(t, w, answer) })
				for err := error(nil); err == nil; { // until the reply has ended
					err = second(w.Write(nil))
					runtime.Gosched()
				}
			})
			d.Placement = p
			s := start(t, r, &server.Server{Handler: d})
			nc := s.dial(t)
			var all strings.Builder
			for i := range requests {
				fmt.Fprintln(&all, i)
			}
			send(t, nc, all.String())
			expect(t, nc, all.String())
		}
	})
}

// The new handler is given the input that follows the reply.
func TestAnotherHandlerWaitsForADeferredReply(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		d, replies := deferring(t, 1)
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "a\nraw")
		w := testkit.Await(t, replies, "a request")
		testkit.Must(t, w.Conn().SetHandler(server.HandlerFunc(echo)))
		s.deferred(t, 1)
		finish(t, w.Reply, "done\n")
		expect(t, nc, "a: done\nraw")
	})
}

// Close of the connection waits for the reply.
func TestAClosedConnectionSendsItsDeferredReply(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		d, replies := deferring(t, 1)
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "a\nb\n")
		w := testkit.Await(t, replies, "a request")
		testkit.Must(t, w.Conn().Close())
		s.deferred(t, 1)
		finish(t, w.Reply, "done\n")
		expect(t, nc, "a: done\n")
		expectEOF(t, nc)
		hangUp(nc)
		s.shutdown(t)
	})
}

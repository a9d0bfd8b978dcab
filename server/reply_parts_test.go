package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// Copies, owned slices and files are sent in the order of the calls, without other writes between them, whichever of several replies is
// complete first.
func TestThePartsOfAReplyStayTogether(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r rig) {
		for _, concurrent := range []int{1, 4} {
			t.Run(fmt.Sprint("concurrent=", concurrent), func(t *testing.T) {
				const requests = 40
				long := strings.Repeat("F", 100<<10)
				f := writeFile(t, []byte(long))
				var reported outcomes
				s := start(t, r, &server.Server{Handler: &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, Serve: func(w server.Reply, m []byte) {
					n := string(m)
					_, err := fmt.Fprintf(w, "R%s ", n)
					_, pushErr := w.Conn().WriteString("<push>")
					err = errors.Join(err, pushErr, w.SendFile(f, 0, int64(len(long)), reported.of(w.Conn(), "file "+n)))
					_, pushErr = w.Conn().WriteString("<push>")
					err = errors.Join(err, pushErr, w.WriteOwned([]byte(" owned"), reported.of(w.Conn(), "owned "+n)))
					_, e := w.WriteString(" end.")
					if err = errors.Join(err, e, w.Notify(reported.of(w.Conn(), "all "+n))); err != nil {
						t.Error(err)
					}
				}}})
				nc := s.dial(t)
				var want strings.Builder
				for i := range requests {
					fmt.Fprintf(&want, "R%d %s owned end.", i, long)
					send(t, nc, fmt.Sprintln(i))
				}
				closeWrite(t, nc)
				got, err := io.ReadAll(nc)
				testkit.Must(t, err)
				pushes := strings.Count(string(got), "<push>")
				if text := strings.ReplaceAll(string(got), "<push>", ""); text != want.String() || pushes != 2*requests {
					t.Errorf("%d bytes and %d pushes came, want %d and %d", len(text), pushes, want.Len(), 2*requests)
				}
				whole := regexp.MustCompile(`^(<push>)*(R\d+ F+ owned end\.)?$`)
				for _, reply := range strings.SplitAfter(string(got), "end.") {
					if !whole.MatchString(reply) {
						t.Errorf("a push lies within a reply: %.40q", reply)
					}
				}
				s.shutdown(t)
				if good := reported.check(t, 3*requests); good != 3*requests || server.WaitingFiles(s.Server) != 0 {
					t.Errorf("%d of %d parts were written, %d files are counted", good, 3*requests, server.WaitingFiles(s.Server))
				}
				s.drained(t)
			})
		}
	})
}

// However the connection ends, each accepted part has one outcome, and refused parts have none.
func TestAReplysPartsHaveOneOutcome(t *testing.T) {
	f := writeFile(t, noise(300<<10))
	each(t, func(t *testing.T, r rig) {
		for _, concurrent := range []int{1, 3} {
			var reported outcomes
			var mu sync.Mutex
			accepted := 0
			count := func(err error) bool {
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					accepted++
				} else if !errors.Is(err, server.ErrClosed) {
					t.Errorf("a part was refused: %v", err)
				}
				return err == nil
			}
			opened, requests := make(chan *server.Conn, 100), make(chan *server.Conn, 100)
			s := start(t, r, &server.Server{MaxOutput: 64 << 10, Socket: tight(), Handler: &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, Opened: func(c *server.Conn) { opened <- c }, Serve: func(w server.Reply, m []byte) {
				offer(requests, w.Conn())
				for i := 0; ; i++ {
					id := fmt.Sprint(w.Conn().ID(), string(m), i)
					_, _ = w.WriteString("a part ")
					if !count(w.SendFile(f, 0, 300<<10, reported.of(w.Conn(), id+"f"))) || !count(w.WriteOwned(make([]byte, 5000), reported.of(w.Conn(), id+"o"))) ||
						!count(w.Notify(reported.of(w.Conn(), id+"n"))) {
						return
					}
				}
			}}})
			for i := range 9 {
				nc := s.dial(t)
				send(t, nc, "1\n2\n3\n")
				c := testkit.Await(t, opened, "Open")
				testkit.Until(t, "a request of it", func() bool { return testkit.Await(t, requests, "a request") == c })
				switch i % 3 {
				case 0:
					reset(t, nc)
				case 1:
					c.Abort()
				case 2:
					_ = c.Detach(func(nc net.Conn, _ []byte, _ error) {
						if nc != nil {
							_ = nc.Close()
						}
					})
					c.Abort()
				}
			}
			testkit.Until(t, "the end of the connections", func() bool { return s.Stats().OpenConns == 0 })
			s.shutdown(t)
			mu.Lock()
			reported.check(t, accepted)
			mu.Unlock()
			s.drained(t)
			if n := server.WaitingFiles(s.Server); n != 0 {
				t.Errorf("%d files are still counted", n)
			}
		}
	})
}

// The first write returns it, even a small one.
func TestAReplyOfAClosedConnectionReturnsErrClosed(t *testing.T) {
	f := writeFile(t, []byte("x"))
	errs := make(chan error, 5)
	for _, concurrent := range []int{1, 4} {
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, Serve: func(w server.Reply, _ []byte) {
			w.Conn().Abort()
			_, err := w.WriteString("x")
			errs <- err
			errs <- w.WriteOwned([]byte("x"), nil)
			errs <- w.SendFile(f, 0, 1, func(error) { t.Error("done was called of a file that was not accepted") })
			errs <- w.Notify(func(error) { t.Error("done was called after an error") })
			errs <- w.Flush()
		}}})
		send(t, s.dial(t), "go\n")
		for range 5 {
			err := testkit.Await(t, errs, "a write")
			testkit.CheckErr(t, "a write", err, server.ErrClosed)
			testkit.CheckErr(t, "a write", err, server.ErrAborted)
		}
	}
}

// The next request of the connection may use the same memory. Each method refuses the old Reply, and the zero Reply, too.
func TestAReplyThatHasEndedIsRefusedDuringTheNextRequest(t *testing.T) {
	f := writeFile(t, []byte("FILE"))
	check := func(w server.Reply) {
		_, err := w.Write(make([]byte, 100<<10))
		testkit.CheckErr(t, "Write", err, server.ErrReplyEnded)
		testkit.CheckErr(t, "WriteOwned", w.WriteOwned([]byte("x"), func(error) { t.Error("release was called") }), server.ErrReplyEnded)
		testkit.CheckErr(t, "SendFile", w.SendFile(f, 0, 4, nil), server.ErrReplyEnded)
		testkit.CheckErr(t, "Notify", w.Notify(func(error) { t.Error("done was called") }), server.ErrReplyEnded)
		testkit.CheckErr(t, "Flush", w.Flush(), server.ErrReplyEnded)
	}
	check(server.Reply{})
	var kept []server.Reply
	s := start(t, rig{"tcp", false, 1}, &server.Server{Workers: 1, Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, m []byte) {
		_, _ = w.Write(m)
		for _, old := range kept {
			check(old)
			if old.Conn() != w.Conn() {
				t.Error("a reply has changed its connection")
			}
		}
		kept = append(kept, w)
		_, _ = w.WriteString(".\n")
	})})
	nc := s.dial(t)
	send(t, nc, "a\nb\nc\nd\n")
	expect(t, nc, "a.\nb.\nc.\nd.\n")
}

// A write to a Reply that has ended returns at once, also while the next reply with the same memory waits for room.
func TestAReplyIsNotDelayedByAnotherThatWaits(t *testing.T) {
	kept := make(chan server.Reply, 1)
	s := start(t, rig{"tcp", false, 1}, &server.Server{Workers: 1, MaxOutput: 64 << 10, Socket: tight(), Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, m []byte) {
		if string(m) == "first" {
			kept <- w
			return
		}
		_, _ = w.Write(make([]byte, 32<<20))
	})})
	nc := s.dial(t)
	send(t, nc, "first\nlong\n")
	w := testkit.Await(t, kept, "the first request")
	testkit.Until(t, "a full output", func() bool { return w.Conn().Stats().BufferedBytes >= 64<<10 })
	_, err := w.WriteString("late")
	testkit.CheckErr(t, "Write", err, server.ErrReplyEnded)
	hangUp(nc)
}

// Where a connection's SendFile returns ErrFull, a reply waits, but never for files that wait for it.
func TestFilesOfRepliesWaitForRoom(t *testing.T) {
	f := writeFile(t, []byte("0123456789"))
	d := server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) {
		for range 20 {
			if err := w.SendFile(f, 0, 10, nil); err != nil {
				t.Error(err)
			}
			_ = w.Conn().SendFile(f, 0, 10, nil) // is sent after the reply, or refused
		}
	})
	d.Opened = func(c *server.Conn) { server.SetMaxFiles(c.Server(), 1) }
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d})
	nc := s.dial(t)
	send(t, nc, "go\n")
	expect(t, nc, strings.Repeat("0123456789", 20))
	closeWrite(t, nc)
	_, err := io.ReadAll(nc)
	testkit.Must(t, err)
}

// Neither its reply nor the parts of its reply are allocated.
func TestARequestOnAWorkerAllocatesNothing(t *testing.T) {
	answer := []byte("an answer that is always the same")
	release := func(error) {}
	for how, serve := range map[string]func(w server.Reply) error{
		"Write":      func(w server.Reply) error { return second(w.Write(answer)) },
		"WriteOwned": func(w server.Reply) error { return w.WriteOwned(answer, release) },
		"Notify":     func(w server.Reply) error { return errors.Join(second(w.Write(answer)), w.Notify(release)) },
	} {
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) {
			if err := serve(w); err != nil {
				t.Error(err)
			}
		})})
		nc := s.dial(t)
		request, buf := []byte("request\n"), make([]byte, len(answer))
		round := func() {
			if _, err := nc.Write(request); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(nc, buf); err != nil {
				t.Fatal(err)
			}
		}
		if n := allocations(0, round); n > 0 {
			t.Errorf("%s: %.1f allocations for each request", how, n)
		}
	}
}

var _ io.Writer = server.Reply{}

// TestTheArgumentOfAWriteToAReplyIsNotAllocated: such as a line end that the function makes for each answer.
func TestTheArgumentOfAWriteToAReplyIsNotAllocated(t *testing.T) {
	allocations := make(chan float64, 1)
	d := echoLines()
	d.Serve = func(w server.Reply, line []byte) {
		allocations <- testing.AllocsPerRun(1000, func() {
			_, _ = w.Write([]byte{line[0], '\n'})
			_, _ = w.WriteString(string(line))
		})
	}
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d})
	send(t, s.dial(t), "xy\n")
	if n := testkit.Await(t, allocations, "the request"); n != 0 {
		t.Errorf("two writes allocate %v times", n)
	}
}

package server_test

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// replyBody returns the reply of a handler of these tests: n bytes in which a push would be found.
func replyBody(n int) string { return "R" + strings.Repeat("a", n) + "." }

// readItems reads whole replies of n bytes and whole pushes until it has seen so many of both, and fails on anything else.
func readItems(r io.Reader, n, replies, pushes int) error {
	in := bufio.NewReader(r)
	for replies > 0 || pushes > 0 {
		kind, err := in.Peek(1)
		switch {
		case err != nil:
			return fmt.Errorf("%d replies and %d pushes to come: %w", replies, pushes, err)
		case kind[0] == 'R':
			got := make([]byte, n+2)
			if _, err := io.ReadFull(in, got); err != nil || string(got) != replyBody(n) {
				return fmt.Errorf("a reply is not whole, %d to come: %w", replies, err)
			}
			replies--
		default:
			push, err := in.ReadString('>')
			if err != nil || push != "<push>" {
				return fmt.Errorf("read %.40q instead of a push: %w", push, err)
			}
			pushes--
		}
	}
	return nil
}

// None is sent inside a reply, whether the reply is small or larger than MaxOutput, and none is lost.
func TestWritesToTheConnectionAreSentBetweenReplies(t *testing.T) {
	for _, size := range []int{10, 20 << 10, 300 << 10} {
		each(t, func(t *testing.T, r rig) {
			const replies, pushes = 8, 200
			s := start(t, r, &server.Server{MaxOutput: 128 << 10, Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) {
				body := replyBody(size)
				for piece := max(1, size/7); len(body) > 0; body = body[min(len(body), piece):] {
					if _, err := w.WriteString(body[:min(len(body), piece)]); err != nil {
						t.Error(err)
					}
				}
			})})
			nc := s.dial(t)
			send(t, nc, "first\n")
			if err := readItems(nc, size, 1, 0); err != nil {
				t.Fatal(err)
			}
			var conn *server.Conn
			for conn = range s.Conns() {
			}
			send(t, nc, strings.Repeat("line\n", replies))
			var pushers sync.WaitGroup
			for i := range 2 {
				pushers.Go(func() {
					for n := 0; n < pushes/2; {
						var refused []server.BroadcastError
						if i == 0 {
							_, err := conn.WriteString("<push>")
							if err != nil {
								refused = []server.BroadcastError{{Conn: conn, Err: err}}
							}
						} else {
							refused = server.Broadcast([]*server.Conn{conn}, []byte("<push>"), nil)
						}
						if refused == nil {
							n++
							continue
						}
						testkit.CheckErr(t, "a push that was refused", refused[0].Err, server.ErrFull)
					}
				})
			}
			if err := readItems(nc, size, replies, pushes); err != nil {
				t.Error(err)
			}
			hangUp(nc)
			pushers.Wait()
			s.shutdown(t)
			if st := s.Stats(); st.BufferedBytes != 0 {
				t.Errorf("%d bytes are still counted as buffered", st.BufferedBytes)
			}
		})
	}
}

// A push waits for the reply's Flush, and is sent before the rest of the reply.
func TestWritesToTheConnectionAreSentAfterAFlush(t *testing.T) {
	for _, size := range []int{10, 100 << 10} {
		each(t, func(t *testing.T, r rig) {
			s := start(t, r, &server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) {
				big := strings.Repeat("x", size)
				push := func(p string) {
					if _, err := w.Conn().WriteString(p); err != nil {
						t.Error(err)
					}
				}
				_, _ = w.WriteString("one" + big)
				push("<a>")
				_, _ = w.WriteString("two" + big)
				push("<b>")
				testkit.Must(t, w.Flush())
				push("<c>")
				_, _ = w.WriteString("three" + big)
				push("<d>")
			})})
			nc := s.dial(t)
			send(t, nc, "go\n")
			got := make([]byte, 3*size+len("onetwothree<a><b><c><d>"))
			_, err := io.ReadFull(nc, got)
			testkit.Must(t, err)
			text := strings.ReplaceAll(string(got), "x", "")
			want := "onetwo<a><b><c>three<d>"
			if size == 10 { // gathered bytes are not output yet, so pushes are sent first
				want = "<a><b>onetwo<c><d>three"
			}
			if text != want {
				t.Errorf("%q came, want %q", text, want)
			}
			hangUp(nc)
			s.shutdown(t)
		})
	}
}

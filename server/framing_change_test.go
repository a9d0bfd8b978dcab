package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// mailbox returns a Dispatcher with a protocol like SMTP: after the line DATA follows a text that ends with a dot, then lines again.
func mailbox() *server.Dispatcher {
	commands := &server.Dispatcher{Framing: framing.Lines{Max: 512}}
	text := &server.Dispatcher{Framing: framing.DotTerminated{Max: 1 << 20}, Serve: func(w server.Reply, message []byte) {
		_, _ = fmt.Fprintf(w, "250 %d bytes\r\n", len(message))
		_ = w.Conn().SetHandler(commands) // refuses only what is no handler
	}}
	commands.Serve = func(w server.Reply, line []byte) {
		switch string(line) {
		case "DATA":
			_, _ = w.WriteString("354 go ahead\r\n")
			_ = w.Conn().SetHandler(text)
		case "QUIT":
			_, _ = w.WriteString("221 bye\r\n")
			w.Conn().Close()
		default:
			_, _ = fmt.Fprintf(w, "250 %s\r\n", line)
		}
	}
	commands.Malformed = func(c *server.Conn, err error) {
		if errors.Is(err, framing.ErrTooLong) {
			_, _ = c.WriteString("500 line too long\r\n")
		}
	}
	return commands
}

// The framing changes after the message that requests it, also if the next one arrives in the same packet, or byte by byte.
func TestFramingChangesWithinAPacket(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: mailbox()})
		const dialogue = "HELO\r\nDATA\r\nDATA\r\nQUIT\r\n..\r\n.\r\nNOOP\r\nDATA\r\n.\r\nDATA\r\n" + "a\x00b\r\n.\r\nQUIT\r\nnever\r\n"
		want := "250 HELO\r\n354 go ahead\r\n250 16 bytes\r\n250 NOOP\r\n354 go ahead\r\n250 0 bytes\r\n354 go ahead\r\n250 5 bytes\r\n221 bye\r\n"
		for _, step := range []int{len(dialogue), 1, 7} {
			nc := s.dial(t)
			go func() {
				for p := dialogue; p != ""; p = p[min(step, len(p)):] {
					if _, err := io.WriteString(nc, p[:min(step, len(p))]); err != nil {
						return // missing bytes show in the answer
					}
				}
			}()
			expect(t, nc, want)
			expectEOF(t, nc)
			hangUp(nc)
		}
		s.shutdown(t)
	})
}

// The output of Malformed reaches the client, although the client continues to send.
func TestALineTooLongIsAnswered(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		d := mailbox()
		reasons, closed := closings()
		d.Closed = closed
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "NOOP\r\n"+strings.Repeat("x", 5000))
		expect(t, nc, "250 NOOP\r\n500 line too long\r\n")
		expectEOF(t, nc)
		hangUp(nc)
		testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), framing.ErrTooLong)
		s.shutdown(t)
	})
}

// The answers to the requests before the invalid one are sent first, although they take long.
func TestABadStreamEndsInItsTurn(t *testing.T) {
	for _, concurrent := range []int{1, 3} {
		each(t, func(t *testing.T, r rig) {
			release := make(chan struct{})
			d := &server.Dispatcher{Framing: framing.Lines{Max: 10}, Concurrent: concurrent}
			d.Serve = func(w server.Reply, line []byte) {
				<-release
				_, _ = w.Write(append(line, '\n'))
			}
			reasons, closed := closings()
			d.Closed = closed
			s := start(t, r, &server.Server{Handler: d})
			nc := s.dial(t)
			send(t, nc, "one\ntwo\n"+strings.Repeat("x", 50)+"\nfour\n")
			testkit.Until(t, "a request in progress", func() bool { return s.Stats().RunningRequests > 0 })
			close(release)
			expect(t, nc, "one\ntwo\n")
			expectEOF(t, nc)
			hangUp(nc)
			testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), framing.ErrTooLong)
			s.shutdown(t)
		})
	}
}

// Bytes behind the request that upgrades belong to the raw handler, and those behind its end to the framing again.
func TestARequestMayChangeTheHandlerAndBack(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		var lines *server.Dispatcher
		raw := calls{data: func(c *server.Conn, p []byte) (int, error) {
			for i, b := range p {
				if b == '!' {
					testkit.Must(t, c.SetHandler(lines))
					_, err := c.WriteString("<" + string(p[:i]) + ">")
					return i + 1, err
				}
			}
			return 0, nil
		}}
		lines = server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
			_, _ = fmt.Fprintf(w, "[%s]", line)
			if string(line) == "raw" {
				testkit.Must(t, w.Conn().SetHandler(raw))
			}
		})
		s := start(t, r, &server.Server{Handler: lines})
		nc := s.dial(t)
		for range 20 {
			send(t, nc, "a\nraw\nb\nc!d\nraw\n!e\nraw\n")
			expect(t, nc, "[a][raw]<b\nc>[d][raw]<>[e][raw]")
			send(t, nc, "x")
			send(t, nc, "y!z\n")
			expect(t, nc, "<xy>[z]")
		}
		hangUp(nc)
		s.shutdown(t)
	})
}

// SetHandler also has effect on the stored bytes of an incomplete message.
func TestSetHandlerMayBeCalledOnAnotherGoroutine(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Handler: echoLines()})
		nc := s.dial(t)
		send(t, nc, "line\nno end")
		expect(t, nc, "line\n")
		for c := range s.Conns() {
			testkit.Until(t, "the incomplete line", func() bool { return c.Stats().BytesRead == 11 })
			testkit.Must(t, c.SetHandler(calls{data: echo}))
		}
		expect(t, nc, "no end")
		for c := range s.Conns() {
			testkit.CheckErr(t, "SetHandler(nil)", c.SetHandler(nil), server.ErrInvalid)
			testkit.CheckErr(t, "SetHandler", c.SetHandler(&server.Dispatcher{}), server.ErrInvalid)
		}
		hangUp(nc)
		s.shutdown(t)
	})
}

// The last line is found as by bufio.Scanner. A split function may also end the stream itself.
func TestTheLastLineNeedsNoLineEnd(t *testing.T) {
	for name, row := range map[string]struct {
		split      bufio.SplitFunc
		sent, want string
		reason     error
		closeWrite bool
	}{
		"lines": {bufio.ScanLines, "a\nb", "(a)(b)", io.EOF, true},
		"only":  {bufio.ScanLines, "a", "(a)", io.EOF, true},
		"words": {bufio.ScanWords, "  a b\n\tc", "(a)(b)(c)", io.EOF, true},
		"space": {bufio.ScanWords, "  ", "", io.EOF, true},
		"runes": {bufio.ScanRunes, "aäb", "(a)(ä)(b)", io.EOF, true},
		"final": {untilQuit, "a\nquit\nb\n", "(a)(quit)", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				d := server.Dispatch(row.split, func(w server.Reply, p []byte) { _, _ = fmt.Fprintf(w, "(%s)", p) })
				reasons, closed := closings()
				d.Closed = closed
				s := start(t, r, &server.Server{Handler: d})
				nc := s.dial(t)
				send(t, nc, row.sent)
				if row.closeWrite {
					closeWrite(t, nc)
				}
				expect(t, nc, row.want)
				expectEOF(t, nc)
				hangUp(nc)
				if reason := testkit.Await(t, reasons, "Close"); reason != row.reason {
					t.Errorf("Close was called with %v, want %v", reason, row.reason)
				}
				s.shutdown(t)
			})
		})
	}
}

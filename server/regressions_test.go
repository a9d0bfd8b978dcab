package server_test

import (
	"bufio"
	"errors"
	"sync"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// The tests of this file check rules that the server once broke, each with the program that showed the fault.

// After its function has returned, every write to it is refused with ErrReplyEnded.
func TestAReplyThatHasEndedWritesToNoOtherClient(t *testing.T) {
	for _, concurrent := range []int{1, 4} {
		kept := make(chan server.Reply, 1)
		d := &server.Dispatcher{Framing: framing.Lines{}, Concurrent: concurrent, Serve: func(w server.Reply, m []byte) {
			if string(m) == "secret" {
				kept <- w
				return
			}
			_, _ = w.WriteString("answer\n")
		}}
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d})
		first := s.dial(t)
		send(t, first, "secret\n")
		w := testkit.Await(t, kept, "the request")
		hangUp(first)
		testkit.Until(t, "the end of the reply", func() bool { // its function may not have returned yet
			_, err := w.WriteString("SECRET\n")
			return errors.Is(err, server.ErrReplyEnded)
		})
		stop := make(chan struct{})
		var writer sync.WaitGroup
		writer.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := w.WriteString("SECRET\n"); !errors.Is(err, server.ErrReplyEnded) {
					t.Errorf("a write to a reply that has ended: %v", err)
				}
				w.Conn().ID()
			}
		})
		nc := s.dial(t)
		r := bufio.NewReader(nc)
		for range 200 {
			send(t, nc, "hello\n")
			if line, err := r.ReadString('\n'); line != "answer\n" {
				t.Errorf("another client read %q, %v", line, err)
			}
		}
		close(stop)
		writer.Wait()
	}
}

// The file is sent between the earlier and later bytes of the reply, and before writes of other goroutines.
func TestAFileIsSentWhereAReplyWritesIt(t *testing.T) {
	f := writeFile(t, []byte("FILE!"))
	d := server.Dispatch(bufio.ScanLines, func(w server.Reply, _ []byte) {
		_, _ = w.WriteString("header ")
		_ = w.SendFile(f, 0, 5, nil)
		_, _ = w.WriteString(" trailer")
	})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d})
	nc := s.dial(t)
	send(t, nc, "x\n")
	expect(t, nc, "header FILE! trailer")
}

// LowWater is called when the server has room again, although the output of the connection was never full.
func TestAWriteRefusedForMaxBufferedIsNotifiedOfRoom(t *testing.T) {
	low := make(chan *server.Conn, 100)
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{MaxBuffered: 200 << 10, Socket: tight(),
		Handler: markProbe{p, func(*server.Conn) {}, func(c *server.Conn) { offer(low, c) }}})
	full, nc := p.connect(t, s)
	other, _ := p.connect(t, s)
	var refused error
	testkit.Until(t, "a refusal", func() bool { // the kernel may take output after each
		for err := error(nil); err == nil; {
			_, err = full.Write(make([]byte, 100<<10))
		}
		_, refused = other.WriteString("x")
		return refused != nil
	})
	testkit.CheckErr(t, "a write above MaxBuffered", refused, server.ErrFull, server.ErrServerFull)
	hangUp(nc)
	testkit.Until(t, "LowWater of the other", func() bool { return testkit.Await(t, low, "LowWater") == other })
}

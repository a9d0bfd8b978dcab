package server_test

import (
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Each counts with its overhead, and with the memory of the bytes that were written to it and not sent.
func TestDeferredRepliesCountInBufferedBytes(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const n, size = 8, 1000
		d, replies := deferring(t, n)
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		var all []held
		for range n {
			send(t, nc, "a\n")
			all = append(all, testkit.Await(t, replies, "a request"))
		}
		s.deferred(t, n)
		if held := s.Stats().BufferedBytes; held < n*640 {
			t.Errorf("%d deferred replies count as %d bytes", n, held)
		}
		for _, w := range all {
			testkit.Must(t, second(w.Write(make([]byte, size))))
		}
		if held := s.Stats().BufferedBytes; held < n*(640+size) {
			t.Errorf("%d deferred replies of %d bytes count as %d bytes", n, size, held)
		}
		for _, w := range all {
			testkit.Must(t, w.Close())
		}
		_, err := io.ReadFull(nc, make([]byte, n*(size+3)))
		testkit.Must(t, err)
		testkit.Until(t, "an empty account", func() bool { return s.Stats().BufferedBytes == 0 })
	})
}

// At MaxBuffered a deferred reply does not gather more; its connection ends with ErrOverload.
func TestDeferredRepliesAreBoundedByMaxBuffered(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const limit, conns, size = 1 << 20, 80, 16000
		d, replies := deferring(t, 1)
		reasons, closed := closings()
		d.Closed = closed
		s := start(t, r, &server.Server{Handler: d, MaxBuffered: limit})
		var all []held
		for range conns { // a request may be refused at the limit, since its buffers are those of earlier ones, which may be large
			send(t, s.dial(t), "a\n")
			select {
			case w := <-replies:
				all = append(all, w)
			case reason := <-reasons:
				testkit.CheckErr(t, "Close", reason, server.ErrOverload)
			case <-time.After(testkit.Patience):
				t.Fatal("neither a reply nor an end")
			}
		}
		refused := conns - len(all)
		for _, w := range all {
			if _, err := w.Write(make([]byte, size)); err != nil {
				testkit.CheckErr(t, "Write", err, server.ErrClosed, server.ErrOverload)
				refused++
			}
			if held := s.Stats().BufferedBytes; held > limit+2*size {
				t.Fatalf("%d bytes are held, the limit is %d", held, limit)
			}
		}
		if refused == 0 || refused == conns {
			t.Errorf("%d of %d requests and writes were refused", refused, conns)
		}
	})
}

// A request whose reply is deferred allocates its deadline, and nothing else.
func TestDeferAllocatesThreeTimes(t *testing.T) {
	replies := make(chan server.Reply, 1)
	answer := []byte("an answer")
	var all sync.WaitGroup
	all.Go(func() {
		for w := range replies {
			if err := errors.Join(second(w.Write(answer)), w.Close()); err != nil {
				t.Error(err)
			}
		}
	})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: several(1, func(w server.Reply, _ []byte) {
		if err := w.Defer(time.Hour); err != nil {
			t.Error(err)
		}
		replies <- w
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
	if n := allocations(3, round); n > 3 {
		t.Errorf("%.1f allocations for each request", n)
	}
	hangUp(nc)
	s.shutdown(t)
	close(replies)
	all.Wait()
}

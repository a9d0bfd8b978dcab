package server_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// flooded is a server with one worker, which is blocked until release is closed, and a queue of two that is full.
type flooded struct {
	*running
	release chan struct{}
	blocked []net.Conn // one in progress, two in the queue
	reasons chan error // of Close
}

func flood(t *testing.T, r rig, srv *server.Server) *flooded {
	t.Helper()
	f := &flooded{release: make(chan struct{})}
	srv.Workers, srv.Queue = 1, 2
	d := server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
		if string(line) == "block" {
			<-f.release
		}
		_, _ = w.Write(append(line, '\n'))
	})
	f.reasons, d.Closed = closings()
	srv.Handler = d
	f.running = start(t, r, srv)
	for i := range 3 {
		nc := f.dial(t)
		send(t, nc, "block\n")
		testkit.Until(t, "a full queue", func() bool { st := f.Stats(); return st.RunningRequests == 1 && st.QueuedRequests == i })
		f.blocked = append(f.blocked, nc)
	}
	return f
}

// queued reports whether the largest number of requests that have waited for a worker is n. Only the server's pool counts it.
func (f *flooded) queued(n int) bool { return hasUserExecutor() || f.Stats().MaxQueuedRequests == n }

// On every loop nothing is refused or lost, and further input stays in the kernel.
func TestAFullQueueStopsReading(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const clients = 12
		lines := 1000
		if testkit.Full() {
			lines = 2000
		}
		f := flood(t, r, &server.Server{})
		errs := make(chan error, clients)
		var ncs []net.Conn
		for i := range clients {
			nc := f.dial(t)
			ncs = append(ncs, nc)
			go func() { errs <- pipelined(nc, strings.Repeat("x", 500)+fmt.Sprint(i), lines) }()
		}
		testkit.Until(t, "all clients", func() bool { return f.Stats().Opened == clients+3 && f.Stats().BytesRead > clients*1000 })
		if st := f.Stats(); !f.queued(2) || st.BufferedBytes > clients*2*(72<<10) { // decrypted and not, with their overhead
			t.Errorf("%d requests waited, %d bytes are held; want 2 and at most what one read takes of each", st.MaxQueuedRequests, st.BufferedBytes)
		}
		close(f.release)
		for range clients {
			if err := testkit.Await(t, errs, "all answers"); err != nil {
				t.Error(err)
			}
		}
		for _, nc := range f.blocked {
			expect(t, nc, "block\n")
		}
		hangUp(append(ncs, f.blocked...)...)
		f.shutdown(t)
		if st := f.Stats(); st.Busy != 0 || !f.queued(2) || st.BufferedBytes != 0 || st.Requests != uint64(clients*lines+3) {
			t.Errorf("%+v", st)
		}
	})
}

// A request that finds the queue full is answered with BusyText in its turn, and the connection stays open.
func TestAFullQueueRefuses(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		f := flood(t, r, &server.Server{WhenFull: server.FullRefuse, BusyText: "busy\n"})
		for range 3 {
			nc := f.dial(t)
			send(t, nc, "one\ntwo\n")
			expect(t, nc, "busy\nbusy\n")
			f.blocked = append(f.blocked, nc)
		}
		if st := f.Stats(); st.Busy != 6 || !f.queued(2) {
			t.Errorf("%d requests were refused and %d waited, want 6 and 2", st.Busy, st.MaxQueuedRequests)
		}
		close(f.release)
		for _, nc := range f.blocked[:3] {
			expect(t, nc, "block\n")
		}
		for _, nc := range f.blocked[3:] {
			send(t, nc, "three\n")
			expect(t, nc, "three\n")
		}
		hangUp(f.blocked...)
		f.shutdown(t)
	})
}

// The refusal is sent after the answers to earlier requests.
func TestRefusalsKeepTheOrderOfConcurrentRequests(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		release := make(chan struct{})
		s := start(t, r, &server.Server{Workers: 1, Queue: 1, WhenFull: server.FullRefuse, BusyText: "busy\n",
			Handler: several(10, func(w server.Reply, line []byte) {
				<-release
				_, _ = w.Write(append(line, '\n'))
			})})
		nc := s.dial(t)
		send(t, nc, "a\n")
		testkit.Until(t, "a request in progress", func() bool { return s.Stats().RunningRequests == 1 })
		send(t, nc, "b\nc\nd\n")
		testkit.Until(t, "two refusals", func() bool { return s.Stats().Busy == 2 })
		close(release)
		expect(t, nc, "a\nb\nbusy\nbusy\n")
		send(t, nc, "e\n")
		expect(t, nc, "e\n")
		hangUp(nc)
		s.shutdown(t)
	})
}

// A connection whose request finds the queue full is closed with ErrOverload. The others stay open.
func TestAFullQueueCloses(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		f := flood(t, r, &server.Server{WhenFull: server.FullCloseConn})
		nc := f.dial(t)
		send(t, nc, "one\n")
		if n, err := nc.Read(make([]byte, 1)); err == nil {
			t.Errorf("read %d bytes, want the end", n)
		}
		testkit.CheckErr(t, "Close", testkit.Await(t, f.reasons, "Close"), server.ErrOverload)
		close(f.release)
		for _, nc := range f.blocked {
			expect(t, nc, "block\n")
		}
		hangUp(f.blocked...)
		f.shutdown(t)
		if st := f.Stats(); st.Busy != 1 || st.BufferedBytes != 0 || st.Opened != st.Closed {
			t.Errorf("%+v", st)
		}
	})
}

// The connection of a request that waits for room has its Close.
func TestRequestsThatWaitForRoomEndWithTheServer(t *testing.T) {
	eachAtOnce(t, rigs(), func(t *testing.T, r rig) {
		f := flood(t, r, &server.Server{})
		for range 4 {
			nc := f.dial(t)
			send(t, nc, "waits\n")
		}
		testkit.Until(t, "all clients", func() bool { return f.Stats().BytesRead == 3*6+4*6 })
		ended := make(chan error, 1)
		go func() { ended <- f.Close() }()
		var late *server.ShutdownError
		err := testkit.Await(t, ended, "Close")
		close(f.release)
		if !asError(err, &late) || late.Handlers != 1 || late.Conns != 7 {
			t.Errorf("Close: %v; want 1 handler and 7 connections", err)
		}
		if st := f.Stats(); st.Opened != 7 || st.Closed != 7 {
			t.Errorf("%d connections were opened and %d closed", st.Opened, st.Closed)
		}
		testkit.Until(t, "an empty account", func() bool { return f.Stats().BufferedBytes == 0 })
	})
}

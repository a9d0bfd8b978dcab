package outq

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"
)

// shared is a queue that several goroutines append to while one takes from it.
type shared struct {
	mu      sync.Mutex // guards the fields below
	changed *sync.Cond
	q       *Queue
	want    bytes.Buffer // what was appended, in order, and is not out yet
	pending int          // completions
	closed  bool
}

// append appends n bytes from source, in pieces and ways that seed chooses.
func (s *shared) append(seed uint64, source pattern, n int) {
	random := rand.New(rand.NewPCG(seed, 0))
	for sent := 0; sent < n; {
		p := source.next(1 << random.IntN(16))
		sent += len(p)
		other := Get()
		s.mu.Lock()
		switch random.IntN(8) {
		case 0:
			s.q.AppendOwned(p, func(error) { s.pending-- })
			s.pending++
		case 1:
			other.Append(p[:len(p)/2])
			other.Notify(func(error) { s.pending-- })
			other.Append(p[len(p)/2:])
			s.q.Splice(other)
			s.pending++
		default:
			s.q.Append(p)
		}
		s.want.Write(p)
		s.changed.Broadcast()
		for s.q.Len() > 1<<20 {
			s.changed.Wait()
		}
		s.mu.Unlock()
		other.Free()
	}
}

// take takes all that is appended until the queue is closed and empty.
func (s *shared) take(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 9))
	bufs := make([][]byte, 0, 16)
	var out []byte
	var dones []Done
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for s.q.Empty() && !s.closed {
			s.changed.Wait()
		}
		if s.q.Empty() {
			return
		}
		bufs = s.q.Peek(bufs[:0], 1+random.IntN(100000))
		s.mu.Unlock()
		out = out[:0]
		for _, p := range bufs {
			out = append(out, p...)
		}
		n := min(len(out), 1+random.IntN(len(out)+1)) // what the socket takes
		s.mu.Lock()
		dones = s.q.Advance(n, dones[:0])
		if !bytes.Equal(out[:n], s.want.Next(n)) {
			t.Error("other bytes have come out than were appended")
			s.closed = true
		}
		for _, d := range dones {
			d(nil) // pending is under the lock here
		}
		s.changed.Broadcast()
	}
}

// Others append in all ways while the writer, without the lock, reads what Peek has shown: it finds the bytes in order, and the
// race detector finds nothing.
func TestAppendDuringPeek(t *testing.T) {
	const total = 4 << 20
	s := &shared{q: Get()}
	s.changed = sync.NewCond(&s.mu)
	var appenders sync.WaitGroup
	for seed := range 2 {
		appenders.Go(func() { s.append(uint64(seed), pattern(seed)<<32, total/2) })
	}
	done := make(chan struct{})
	go func() {
		appenders.Wait()
		s.mu.Lock()
		s.closed = true
		s.changed.Broadcast()
		s.mu.Unlock()
		close(done)
	}()
	s.take(t)
	<-done
	if s.pending != 0 || s.want.Len() != 0 {
		t.Errorf("%d completions, %d bytes have not come", s.pending, s.want.Len())
	}
	s.q.Free()
}

package outq

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"
)

// Others append in all ways while the writer, without the lock, reads what Peek has shown: it finds the bytes in order, and the
// race detector finds nothing.
func TestAppendDuringPeek(t *testing.T) {
	const total = 4 << 20
	var (
		mu      sync.Mutex
		changed = sync.NewCond(&mu)
		q       = Get()
		want    bytes.Buffer // what was appended, in order, and is not out yet
		pending int          // completions
		closed  bool
	)
	var appenders sync.WaitGroup
	for seed := range 2 {
		random := rand.New(rand.NewPCG(uint64(seed), 0))
		source := pattern(seed) << 32
		appenders.Go(func() {
			for sent := 0; sent < total/2; {
				p := source.next(1 << random.IntN(16))
				sent += len(p)
				other := Get()
				mu.Lock()
				switch random.IntN(8) {
				case 0:
					q.AppendOwned(p, func(error) { pending-- })
					pending++
				case 1:
					other.Append(p[:len(p)/2])
					other.Notify(func(error) { pending-- })
					other.Append(p[len(p)/2:])
					q.Splice(other)
					pending++
				default:
					q.Append(p)
				}
				want.Write(p)
				changed.Broadcast()
				for q.Len() > 1<<20 {
					changed.Wait()
				}
				mu.Unlock()
				other.Free()
			}
		})
	}
	done := make(chan struct{})
	go func() {
		appenders.Wait()
		mu.Lock()
		closed = true
		changed.Broadcast()
		mu.Unlock()
		close(done)
	}()
	random := rand.New(rand.NewPCG(9, 9))
	bufs := make([][]byte, 0, 16)
	var out []byte
	var dones []Done
	mu.Lock()
	for {
		for q.Empty() && !closed {
			changed.Wait()
		}
		if q.Empty() {
			break
		}
		bufs = q.Peek(bufs[:0], 1+random.IntN(100000))
		mu.Unlock()
		out = out[:0]
		for _, p := range bufs {
			out = append(out, p...)
		}
		n := min(len(out), 1+random.IntN(len(out)+1)) // what the socket takes
		mu.Lock()
		dones = q.Advance(n, dones[:0])
		if !bytes.Equal(out[:n], want.Next(n)) {
			t.Error("other bytes have come out than were appended")
			closed = true
		}
		for _, d := range dones {
			d(nil) // pending is under the lock here
		}
		changed.Broadcast()
	}
	mu.Unlock()
	<-done
	if pending != 0 || want.Len() != 0 {
		t.Errorf("%d completions, %d bytes have not come", pending, want.Len())
	}
	q.Free()
}

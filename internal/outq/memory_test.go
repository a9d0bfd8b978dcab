package outq

import (
	"runtime"
	"testing"
	"time"
)

// A block goes back as soon as its last byte has gone, and a queue that never becomes empty holds no more than it needs.
func TestBlocksGoBackAtOnce(t *testing.T) {
	q := Get()
	const burst = 100 * largeBlock
	q.Append(make([]byte, burst))
	if n := len(blocks(q)); n != burst/largeBlock {
		t.Fatalf("%d blocks for %d bytes", n, burst)
	}
	for q.Len() > 0 {
		q.Advance(largeBlock/2, nil)
		if n, most := len(blocks(q)), int(q.Len()/largeBlock)+1; n > most {
			t.Fatalf("%d blocks for %d bytes", n, q.Len())
		}
	}
	invariants(t, q)
	if len(blocks(q)) > 0 || q.last != nil {
		t.Error("a block is left")
	}
	q.Free()
}

// After a burst the list of segments becomes short again: in a queue that is emptied, and in one that never is.
func TestSegmentsAreGivenUpAfterABurst(t *testing.T) {
	text := []byte("x")
	for _, c := range []struct{ left, step int }{{0, 1}, {0, 10000}, {1, 1}, {1, 9999}, {5, 5}} {
		q := Get()
		for range 10000 {
			q.AppendOwned(text, nil)
		}
		for q.Len() > int64(c.left) {
			q.Advance(c.step, nil)
		}
		if cap(q.segs) > 2*keepSegments {
			t.Errorf("room for %d segments with %d left", cap(q.segs), c.left)
		}
		for range 100000 {
			q.AppendOwned(text, nil)
			q.Advance(1, nil)
			if cap(q.segs) > 2*keepSegments {
				t.Fatalf("room for %d segments with %d left", cap(q.segs), q.Len())
			}
		}
		invariants(t, q)
	}
}

// The queue keeps nothing alive that has been taken out: no bytes, files or functions of the user.
func TestTakenOutIsForgotten(t *testing.T) {
	q := Get()
	freed := make(chan string, 3)
	func() {
		p, f, n := make([]byte, 100), &File{Remain: 5}, new([64]byte)
		runtime.AddCleanup(&p[0], func(s string) { freed <- s }, "slice")
		runtime.AddCleanup(f, func(s string) { freed <- s }, "file")
		runtime.AddCleanup(n, func(s string) { freed <- s }, "function")
		q.AppendOwned(p, nil)
		q.AppendFile(f)
		q.Notify(func(error) { n[0]++ })
	}()
	q.AppendOwned([]byte("the rest"), nil)
	q.Advance(100, nil)
	q.AdvanceFile(5, nil)
	for n := 0; n < 3; {
		runtime.GC()
		select {
		case <-freed:
			n++
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of 3 forgotten", n)
		}
	}
	if q.Len() != 8 {
		t.Error("the rest is gone, too")
	}
}

// Neither the usual answer nor a larger one nor one in parts allocates.
func TestSteadyUseDoesNotAllocate(t *testing.T) {
	skipIfRaced(t)
	for name, fn := range uses() {
		for range 200 {
			fn() // to the steady state
		}
		// The garbage collector empties the pools when it likes, so one good run is proof.
		least := testing.AllocsPerRun(100, fn)
		for range 4 {
			least = min(least, testing.AllocsPerRun(100, fn))
		}
		if least > 0 {
			t.Errorf("%s: %v allocations", name, least)
		}
	}
}

// uses returns ways to use queues over and over.
func uses() map[string]func() {
	bufs, dones := make([][]byte, 0, 64), make([]Done, 0, 64)
	done := func(error) {}
	file := new(File)
	text := make([]byte, 1<<20)
	q := Get()
	return map[string]func(){
		"64 bytes": func() {
			q := Get()
			q.Append(text[:64])
			write(q, bufs, dones)
			q.Free()
		},
		"10 KB": func() {
			q := Get()
			q.Append(text[:10<<10])
			write(q, bufs, dones)
			q.Free()
		},
		"1 MB": func() {
			q := Get()
			q.Append(text)
			write(q, bufs, dones)
			q.Free()
		},
		"parts": func() {
			q := Get()
			q.Append(text[:10])
			q.AppendOwned(text[:5000], done)
			q.Append(text[:2])
			q.Notify(done)
			*file = File{Remain: 100, Done: done}
			q.AppendFile(file)
			d := q.Advance(5012, dones)
			q.AdvanceFile(100, d)
			q.Free()
		},
		"never empty": func() {
			for range 1000 { // what comes seldom must not come, too
				q.Append(text[:1000])
				q.AppendOwned(text[:10], done)
				q.Notify(done)
				if q.Len() > 20000 {
					q.Advance(1010, dones)
				}
			}
		},
		"splice": func() {
			q, other := Get(), Get()
			other.Append(text[:100])
			other.AppendOwned(text[:10], done)
			other.Append(text[:5000])
			q.Append(text[:64])
			q.Splice(other)
			other.Free()
			write(q, bufs, dones)
			q.Free()
		},
	}
}

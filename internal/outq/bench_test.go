package outq

import (
	"fmt"
	"testing"
)

// BenchmarkAnswer is an answer from start to end: Get, Append, Peek, Advance, Free.
func BenchmarkAnswer(b *testing.B) {
	for _, n := range []int{64, 2 << 10, 10 << 10, 100 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("bytes=%d", n), func(b *testing.B) {
			p := make([]byte, n)
			bufs := make([][]byte, 0, 64)
			var dones []Done
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				q := Get()
				q.Append(p)
				dones = write(q, bufs, dones[:0])
				q.Free()
			}
		})
	}
}

// BenchmarkPipeline appends small answers one by one before they are written together. It is for each answer.
func BenchmarkPipeline(b *testing.B) {
	for _, depth := range []int{16, 256} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			q := Get()
			p := make([]byte, 64)
			bufs := make([][]byte, 0, 64)
			var dones []Done
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if q.Append(p); i%depth == 0 {
					dones = write(q, bufs, dones[:0])
				}
			}
		})
	}
}

// BenchmarkChunked is a slice of the user's between two short copies, with a completion, as chunked encoding has it.
func BenchmarkChunked(b *testing.B) {
	q := Get()
	head, body, tail := make([]byte, 6), make([]byte, 4096), make([]byte, 2)
	done := func(error) {}
	bufs := make([][]byte, 0, 64)
	var dones []Done
	b.ReportAllocs()
	for b.Loop() {
		q.Append(head)
		q.AppendOwned(body, done)
		q.Append(tail)
		dones = write(q, bufs, dones[:0])
	}
}

// BenchmarkSplice moves a small answer from the queue that it was written to behind others.
func BenchmarkSplice(b *testing.B) {
	q := Get()
	p := make([]byte, 64)
	bufs := make([][]byte, 0, 64)
	var dones []Done
	b.ReportAllocs()
	for b.Loop() {
		other := Get()
		other.Append(p)
		q.Splice(other)
		other.Free()
		dones = write(q, bufs, dones[:0])
	}
}

// write takes all bytes out, as many at a time as fit into bufs.
func write(q *Queue, bufs [][]byte, dones []Done) []Done {
	for !q.Empty() {
		n := 0
		for _, p := range q.Peek(bufs[:0], 1<<20) {
			n += len(p)
		}
		dones = q.Advance(n, dones)
	}
	return dones
}

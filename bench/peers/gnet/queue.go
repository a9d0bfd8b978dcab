package main

import (
	"sync"

	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/pool/goroutine"

	"github.com/evmq/evmq/bench/internal/peer"
)

// A queue is the requests of a connection that wait for the pool. One goroutine at a time handles them, in order.
type queue struct {
	o   *peer.Options
	c   gnet.Conn
	run func() // a bound method, which is made once

	mu      sync.Mutex // guards the fields below
	waiting *buffer    // nil: none
	running bool
}

func newQueue(o *peer.Options, c gnet.Conn) *queue {
	q := &queue{o: o, c: c}
	q.run = q.handle
	return q
}

// add copies requests and has a goroutine of the pool handle them.
func (q *queue) add(requests []byte) error {
	q.mu.Lock()
	if q.waiting == nil {
		q.waiting = newBuffer()
	}
	q.waiting.data = append(q.waiting.data, requests...)
	idle := !q.running
	q.running = true
	q.mu.Unlock()
	if idle {
		return goroutine.DefaultWorkerPool.Submit(q.run)
	}
	return nil
}

// take returns the requests that wait, or nil, after which the next request needs another goroutine.
func (q *queue) take() *buffer {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.waiting
	q.waiting, q.running = nil, b != nil
	return b
}

// handle runs on the pool.
func (q *queue) handle() {
	for b := q.take(); b != nil; b = q.take() {
		requests := b.data
		for n := q.o.Serve(requests); n < len(requests); n = q.o.Serve(requests) {
			part := newBuffer()
			part.data = append(part.data, requests[:n]...)
			q.write(part, part.data)
			requests = requests[n:]
		}
		q.write(b, requests)
	}
}

// write sends p, which is in b, and frees b afterwards.
func (q *queue) write(b *buffer, p []byte) {
	if err := q.c.AsyncWrite(p, b.free); err != nil { // the loop has ended
		return
	}
}

// A buffer is returned to its pool by the callback of AsyncWrite.
type buffer struct {
	data []byte
	free gnet.AsyncCallback // made once
}

var buffers sync.Pool

func init() {
	buffers.New = func() any {
		b := &buffer{}
		b.free = func(gnet.Conn, error) error {
			buffers.Put(b)
			return nil
		}
		return b
	}
}

func newBuffer() *buffer {
	b := buffers.Get().(*buffer)
	b.data = b.data[:0]
	return b
}

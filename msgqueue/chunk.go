package msgqueue

import "unsafe"

// A chunk is a stretch of messages. The queue is a chain of them, so that growing copies nothing, and a burst's memory
// goes back chunk by chunk.
type chunk[T any] struct {
	next  *chunk[T]
	items []T
}

const (
	chunkBytes  = 4096           // what a chunk takes; one of larger messages holds one
	maxChunkLen = 512            // messages in a chunk, however small they are
	spareBytes  = 8 * chunkBytes // what empty chunks take that are kept, if they are more than one
)

func chunkLen[T any]() int {
	return min(max(chunkBytes/messageBytes[T](), 1), maxChunkLen)
}

// maxSpare is how many empty chunks are kept. One must be: a queue has one in delivery and one that fills.
func maxSpare[T any]() int {
	return max(spareBytes/max(chunkBytes, messageBytes[T]()), 1)
}

func messageBytes[T any]() int {
	var zero T
	return max(1, int(unsafe.Sizeof(zero)))
}

// spares keeps a few empty chunks, so that a queue in steady use allocates nothing.
type spares[T any] struct {
	free *chunk[T]
	len  int
}

func (s *spares[T]) get() *chunk[T] {
	c := s.free
	if c == nil {
		return &chunk[T]{items: make([]T, 0, chunkLen[T]())}
	}
	s.free, c.next = c.next, nil
	s.len--
	return c
}

// put keeps c, whose messages have been cleared, or leaves it to the garbage collector.
func (s *spares[T]) put(c *chunk[T]) {
	if s.len == maxSpare[T]() {
		return
	}
	c.items, c.next = c.items[:0], s.free
	s.free = c
	s.len++
}

// chain is a list of chunks, with the number of messages in them.
type chain[T any] struct {
	first, last *chunk[T]
	len         int
}

// push reports whether m is the only one in.
func (c *chain[T]) push(m T, s *spares[T]) (first bool) {
	if c.last == nil || len(c.last.items) == cap(c.last.items) {
		c.grow(s)
	}
	c.last.items = append(c.last.items, m)
	c.len++
	return c.len == 1
}

func (c *chain[T]) grow(s *spares[T]) {
	fresh := s.get()
	if c.last == nil {
		c.first = fresh
	} else {
		c.last.next = fresh
	}
	c.last = fresh
}

// shift takes the first chunk out, nil if there is none.
func (c *chain[T]) shift() *chunk[T] {
	head := c.first
	if head == nil {
		return nil
	}
	if c.first = head.next; c.first == nil {
		c.last = nil
	}
	head.next = nil
	c.len -= len(head.items)
	return head
}

// appendTo appends all messages to p, in their order, and empties the chain.
func (c *chain[T]) appendTo(p []T) []T {
	for c.first != nil {
		p = append(p, c.shift().items...)
	}
	return p
}

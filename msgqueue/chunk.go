package msgqueue

import "unsafe"

// A chunk holds consecutive messages. The queue is a chain of chunks, so that growth copies nothing and memory is
// released chunk by chunk after a burst.
type chunk[T any] struct {
	next  *chunk[T]
	items []T
}

const (
	chunkBytes  = 4096           // size of a chunk; a larger message has a chunk of its own
	maxChunkLen = 512            // messages in a chunk, however small they are
	spareBytes  = 8 * chunkBytes // total size of the empty chunks that are kept, unless it is one chunk
)

func chunkLen[T any]() int {
	return min(max(chunkBytes/messageBytes[T](), 1), maxChunkLen)
}

// maxSpare is the number of empty chunks that are kept, at least one: a queue in use has one in delivery and one being filled.
func maxSpare[T any]() int {
	return max(spareBytes/max(chunkBytes, messageBytes[T]()), 1)
}

func messageBytes[T any]() int {
	var zero T
	return max(1, int(unsafe.Sizeof(zero)))
}

// spares holds empty chunks for reuse, so that a queue in steady use allocates nothing.
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

// put keeps c, whose messages have been cleared, unless there are enough.
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

// push appends m and reports whether it is the only message.
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

// shift removes and returns the first chunk, nil if there is none.
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

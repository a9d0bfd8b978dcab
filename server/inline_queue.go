package server

// inlineQueue has the requests of earlier turns that the leader will run, the oldest first. It belongs to the leader, and to the goroutine
// that closes the loop when the last leader has ended.
type inlineQueue struct {
	ins  []*input
	head int // the index of the oldest request
}

func (q *inlineQueue) len() int { return len(q.ins) - q.head }

func (q *inlineQueue) push(in *input) {
	if q.head > 0 && len(q.ins) == cap(q.ins) {
		n := copy(q.ins, q.ins[q.head:])
		clear(q.ins[n:])
		q.ins, q.head = q.ins[:n], 0
	}
	q.ins = append(q.ins, in)
}

func (q *inlineQueue) pop() *input {
	in := q.ins[q.head]
	q.ins[q.head] = nil
	if q.head++; q.head == len(q.ins) {
		q.ins, q.head = q.ins[:0], 0
	}
	return in
}

// takeAll empties the queue and returns what it had.
func (q *inlineQueue) takeAll() []*input {
	ins := q.ins[q.head:]
	*q = inlineQueue{}
	return ins
}

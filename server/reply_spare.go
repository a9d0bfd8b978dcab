package server

import "github.com/evmq/evmq/internal/outq"

// A request that goes to a worker takes an empty queue along, the spare, which becomes the output of its connection when the answer is
// complete. The loop gets the queue back when the answer is written. So a loop and its workers pass the same few queues round, without a
// sync.Pool, where the goroutine that puts a queue is on another processor than the one that gets it.

// maxSpares limits the empty queues that a loop keeps, of outq.SmallFootprint bytes each. It keeps no more than requests have needed at a time: none
// while no request goes to a worker.
const maxSpares = 64

// lend gives the request a spare queue, if the loop has one, and returns its memory, by which the caller increases Server.buffered. On the
// loop.
func (l *loop) lend(in *input) (memory int) {
	last := len(l.spares) - 1
	if in.reply.order != 0 || in.reply.spare != nil {
		return 0
	}
	if last < 0 {
		l.mostSpares = min(l.mostSpares+1, maxSpares)
		return 0
	}
	in.reply.spare, l.spares[last] = l.spares[last], nil
	l.spares = l.spares[:last]
	return outq.SmallFootprint
}

// keepSpare keeps an empty queue for lend, and reports whether it does. On the loop.
func (l *loop) keepSpare(q *outq.Queue) bool {
	if len(l.spares) >= l.mostSpares || !q.IsSmall() {
		return false
	}
	l.spares = append(l.spares, q)
	return true
}

// useSpare makes the spare queue the output of the connection if it has none, and returns the memory of the queue, with which the output
// is counted already. Under c.mu.
func (r *replyState) useSpare() (counted int) {
	if r.spare == nil || r.c.out != nil {
		return 0
	}
	r.c.out, r.spare = r.spare, nil
	return outq.SmallFootprint
}

// dropSpare frees the spare queue if the answer has not used it. Under c.mu.
func (r *replyState) dropSpare() {
	if r.spare == nil {
		return
	}
	r.spare.Free()
	r.spare = nil
	r.c.loop.srv.addBuffered(-outq.SmallFootprint)
}

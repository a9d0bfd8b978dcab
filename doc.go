// Package evmq is a system of event loops and message queues for network servers.
//
// In 2006 Andrew Danforth's event_msgqueue made libevent usable from many threads: other threads put a message into a
// queue, one byte through a socketpair woke the loop, and the loop's own thread drained the queue. spserver and memcached
// built their servers on that idea. evmq is the idea in Go: network I/O on the loops, blocking work on goroutines, and
// answers that travel back through a queue in which nothing is lost.
//
//	            kernel            one goroutine per loop                          worker goroutines
//	socket ──> poller.Wait ──> event.Loop: one turn ──> Conn reads ──> framing ──> workers ──> handler
//	   ^                              ^                                                           │
//	   │                              └── wake ◄── msgqueue.Queue ◄── Conn.Write, from anywhere ◄─┘
//	   └────── one write per turn ◄──── Conn flushes
//
// The rooms, from the ground up; imports only go down:
//
//   - [github.com/evmq/evmq/event]: the loop. Events for descriptors, timers, signals and users, with libevent's powers, safe
//     to use from any goroutine.
//   - [github.com/evmq/evmq/msgqueue]: Queue[T], which brings messages from any goroutine to a callback on a loop. It is
//     built on event's public face alone, as the original was on libevent's.
//   - [github.com/evmq/evmq/server]: servers on both. Listeners, connections, framing, workers, limits, deadlines, TLS, shutdown;
//     the framings themselves are in [github.com/evmq/evmq/server/framing].
//   - [github.com/evmq/evmq/memcache]: a memcached-compatible cache, as a library; protocol and store are packages below it, and
//     cmd/evcached is the program.
//   - examples: one small program for each idea; handoff is the scenario that the queue was invented for.
//
// What is internal (the backends for epoll, poll(2) and kqueue, socket calls, output buffers) is nobody's promise. This package
// itself is only the map.
package evmq

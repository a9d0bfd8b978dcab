// Package evmq documents the module: event loops and message queues for network servers.
//
// In 2006 Andrew Danforth's event_msgqueue made libevent usable from many threads: other threads put a message into a
// queue, one byte through a socketpair wakes the loop, and the loop's own thread drains the queue. spserver and memcached
// are built on the same idea. evmq brings it to Go: one goroutine per loop does the network I/O and runs the handlers that are
// quick, worker goroutines run those that block, and a queue carries their answers back. No accepted message is lost.
//
//	            kernel            one goroutine per loop                          worker goroutines
//	socket ──> poller.Wait ──> event.Loop: one turn ──> Conn reads ──> framing ──> workers ──> handler
//	   ^                              ^                                                           │
//	   │                              └── wake ◄── msgqueue.Queue ◄── Conn.Write, any goroutine ◄─┘
//	   └────── one write per turn ◄──── Conn flushes
//
// The packages, in an order in which each imports only packages before it:
//
//   - [github.com/evmq/evmq/event]: the event loop, with events for descriptors, timers, signals and user events. It has the features of
//     libevent, and any goroutine may use it.
//   - [github.com/evmq/evmq/msgqueue]: Queue[T], which carries messages from any goroutine to a callback on a loop. It uses only the
//     exported API of event.
//   - [github.com/evmq/evmq/server/framing]: the end of a message in a stream: lines, delimiters, lengths.
//   - [github.com/evmq/evmq/server]: servers on event loops, with listeners, connections, workers, limits, deadlines, TLS and shutdown.
//   - [github.com/evmq/evmq/server/client]: requests to other servers and their answers, over a pool of connections.
//   - [github.com/evmq/evmq/httpd]: HTTP servers on event loops, for the handlers of net/http.
//   - [github.com/evmq/evmq/httpd/sse]: server-sent events in these handlers.
//   - [github.com/evmq/evmq/httpd/websocket]: WebSockets in these handlers, and clients.
//   - [github.com/evmq/evmq/memcache]: a cache with memcached's protocols, as a library. The program is cmd/evcached.
//   - examples: one small program for each idea. handoff shows the use for which event_msgqueue was written.
//
// The internal packages, among them the backends for epoll, poll(2) and kqueue, have no stable API. This package contains no code.
package evmq

// Package server is for servers that hold many connections on little memory and whose handlers may block. Event loops do the work of
// the network, workers run functions that block, answers are sent in the order of their requests, and everything has a limit.
//
// # The model
//
// A [Server] has event loops, each run by one goroutine, and a pool of workers. Each [Conn] belongs to one loop, which alone reads, writes
// and closes its descriptor. There are two ways to serve connections, which can be combined:
//
//   - The methods of a [Handler] are called on the connection's loop. They must not block. Data that only connections of one loop use
//     needs no lock.
//   - [Dispatch] makes a Handler that cuts the stream into messages and has a function answer each message on a worker, where it may
//     block, by writing to a [Reply].
//
// [Conn.SetHandler] changes from one to the other, or to another framing, at any time. With an [Executor] other handlers can pass requests
// to the workers as those of Dispatch do.
//
//	           kernel         one goroutine per loop                      worker goroutines
//	socket ──> event.Loop ──> Conn reads ──> framing ──> workers' queue ──> function of Dispatch
//	   ^                          ^                                               │
//	   │                          └── loop's queue ◄── Conn has output ◄── Reply ◄┘
//	   └── one write per turn ◄── output of Conn ◄── Conn.Write, from any goroutine
//
// A program makes a Server, sets its fields, and calls [Server.ListenAndServe], or [Server.Listen] and [Server.Dial] for more than one
// listener or for connections to other servers. [Server.Shutdown] ends it.
//
// # Goroutines
//
// Every exported method may be called from any goroutine, callbacks included, unless its comment ends with "Loop only." or "May block; not
// in a callback." No lock of this package is held while a callback runs. A call that would wait for the loop on which it is made
// returns [event.ErrOnLoop].
//
// The goroutines of a server are one for each loop, one for each worker, and, while they are needed, one for each TLS handshake that
// runs, for each name that is looked up, for each file that cannot be sent by the kernel, and for each listener without a descriptor.
// With [Server.UseLoops] the loops run on goroutines of the program.
//
// # The order of a turn
//
// In each turn a loop
//
//  1. waits for descriptors that are ready, for timers, and for connections that other goroutines have queued;
//  2. accepts connections, up to AcceptBudget for each listener;
//  3. reads each connection that is ready, once and at most 64 KB, gives the bytes to its handler, and writes the output that the handler
//     has made, with one system call;
//  4. writes the output of connections that other goroutines have queued, and carries out commands such as Close;
//  5. passes the requests that it has found to the workers, together.
//
// Work that exceeds a budget is done in a later turn, after that of the other connections. See package event for the order of callbacks.
//
// # The life of a connection
//
//	accepted or given to AddConn          Dial
//	       │                                │ lookup, connect
//	       ▼                                ▼
//	PROXY header, TLS handshake      TLS handshake
//	       │          └─ fails: OnReject    │      └─ fails: Handler.Close
//	       ▼                                ▼
//	     Open ──> Data ... ──> end of the peer's stream ──> LastData, EOF
//	                │                        │
//	                ▼                        ▼ without an EOFHandler
//	          Close, Abort, a deadline, a limit, an error, Shutdown
//	                │
//	                ▼
//	              Close, with the reason
//
// The optional methods of a Handler are those of [EOFHandler], [MarkHandler], [LastDataHandler], [LimitHandler] and [InputErrorHandler].
//
// [Conn.Close] ends a connection in order: requests in progress are answered, output is flushed, the write side is closed, and input is
// discarded until the peer closes its half. [Conn.CloseWrite] closes the write side only; [Conn.Abort] ends the connection at once;
// [Conn.StartTLS] begins TLS on an open connection; [Conn.Detach] takes the connection out of the server. The reason that Handler.Close is
// called with is nil after Conn.Close, io.EOF if the peer has ended the connection, and otherwise an error that [ReasonOf] classifies and
// [Stats] counts. The file docs/architecture.md of the repository has a figure of this life with each deadline and each reason.
//
// If the peer resets the connection, or a write fails, output that waits fails, writes are refused with [ErrClosed], and [Conn.Context]
// ends. Input that has arrived is still given to the handler, within CloseTimeout, and then the connection is closed with the first
// error. A reset is also noticed after the end of the peer's stream. While reading is paused, a reset ends the connection at once.
//
// # What happens to a write
//
//	Write ──> refused with an error: nothing was accepted
//	  │
//	  └─────> accepted ──> given to the kernel
//	                  └──> failed with a reason: the connection was closed before
//
// There is no third outcome. A caller that asks for it is notified of the outcome once, on the connection's loop: see
// [Conn.WriteNotify], [Conn.WriteOwned], [Conn.SendFile], the methods of Reply with these names, [Reply.Notify] and [Broadcast]. That the
// kernel has the bytes does not mean that the peer has read them.
//
// # Order
//
// A write appends to the output of its connection under the connection's lock, so there is one order of the writes of all
// goroutines, in which Close has its place, too. The requests of a connection are handled one at a time and answered in their order. With
// [Dispatcher.Concurrent] several are handled at a time and still answered in order. While a worker has the request of a connection, Data
// is not called. The bytes of a Reply, its files and owned slices included, are sent without a gap up to [Reply.Flush] or the end of its
// function; other writes are sent before or after them. A Reply that is used after its function has returned fails with [ErrReplyEnded].
//
// # Limits
//
// The fields of [Server] limit the memory that is held for a connection in both directions (MaxInput, MaxOutput, HighWater), what the server holds
// in total (MaxBuffered), the connections (MaxConns), the requests that wait (Queue) and the TLS handshakes that run (MaxHandshakes).
// Each limit is on by default. Bytes count from when they are accepted until the kernel has them or the handler has consumed them.
// MaxBuffered counts the memory that they occupy, parts of TLS records and of PROXY headers included. The files that wait to be sent may
// use a quarter of the process's descriptors, besides one for each connection.
//
// At a limit the server stops reading, or refuses with an error, or lets a worker wait. It discards nothing that it has accepted. The
// server does not read from a connection whose peer does not read. A reply that is being written may exceed MaxOutput by 16 KB, which it
// gathers before the connection accepts it. A reply larger than MaxOutput for a peer that does not read occupies its worker until
// WriteTimeout; a server with such replies needs a short one.
//
// # Deadlines
//
// The deadlines are IdleTimeout, ReadTimeout, FirstRequestTimeout, WriteTimeout, CloseTimeout, DrainTimeout and HandshakeTimeout of Server,
// and [DialConfig.Timeout]. They are independent of each other; the first that ends closes the connection. While requests are in progress,
// IdleTimeout and CloseTimeout do not count, ReadTimeout counts for a request that is being read meanwhile, and WriteTimeout always counts.
// [Conn.SetTimeouts] changes them for a connection.
//
// A server ends a connection only because of a deadline; more than MaxInput bytes that the handler does not consume; MaxBuffered; MaxConns; a
// stream that is invalid for its framing, TLS or the PROXY protocol; FullCloseConn; a panic; a loop that the program closes; Shutdown; or
// because the program asks for it.
//
// # Errors
//
// An error names the operation and the value, and wraps one of the errors of this package, or that of the system or of package net, for
// errors.Is and errors.As. Wrong arguments and fields are [ErrInvalid]. The errors of what is closed match [net.ErrClosed]. Those of deadlines
// are a net.Error whose Timeout method returns true, and match [os.ErrDeadlineExceeded].
//
// # Workers
//
// A worker takes one request at a time, with up to 64 that follow it on the same connection as long as the handler does not change. A
// request that waits needs no goroutine, and it does not wait behind a handler that blocks while a worker is idle. [Reply.Context] ends
// with the connection; a handler that waits for something should also wait for its end, because the connection counts for MaxConns
// until the handler has returned.
//
// # Datagrams
//
// A [PacketConn] is a UDP socket on the loops; see [Server.ListenPacket]. Its handler runs on a loop, or on workers with
// [DispatchPackets]. Any goroutine may answer with [PacketConn.WriteTo], which sends at once or fails. Nothing is kept or sent again;
// datagrams that the server discards are counted. An answer is sent from the address that the datagram was sent to.
//
// # The end of a server
//
// [Server.Shutdown] stops accepting; answers the requests that have arrived, also on connections that the kernel has established and
// on datagrams that have arrived; flushes and closes the connections, those last that the server has dialled; and returns when
// every goroutine and descriptor of the server is gone. When its context ends first, it aborts the connections that are left and returns a
// [ShutdownError] with the number of handlers and loops that it has not waited for. [Server.Close] is a Shutdown whose context has
// ended. Handler.Close is called for each connection for which Open was called.
//
// # Panics
//
// A callback that panics ends the program, unless OnPanic is set. In that case, and when a callback calls runtime.Goexit, the
// connection that the callback was called for is aborted with [ErrPanic], and the loop goes on. Handlers of datagrams, and timers and posts
// that the program adds to a loop, belong to no connection.
//
// # Descriptors
//
// When the process has no descriptor left, a listener uses a reserve descriptor to refuse one client with BusyText, pauses, and goes on.
// [Stats] counts the pauses.
package server

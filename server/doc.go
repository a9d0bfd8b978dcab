// Package server provides servers that hold many connections in little memory and whose handlers may block. Answers are sent in the order of
// their requests, and the use of each resource is limited. This is a complete server:
//
//	srv := server.Server{Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, name []byte) {
//		_, _ = w.WriteString("hello " + string(name) + "\n")
//	})}
//	log.Fatal(srv.ListenAndServe("tcp", "127.0.0.1:7000"))
//
// # The model
//
// A [Server] has event loops and a pool of workers. Each [Conn] belongs to one loop, which alone reads, writes and closes its descriptor.
// There are two ways to serve connections, which can be combined:
//
//   - [Dispatch] makes a Handler that cuts the stream into messages and calls a function for each message. The function may block, and
//     answers by writing to a [Reply]. The server decides where it runs: on the loop while it is quick, which costs least, and otherwise on
//     a worker. If it blocks on the loop, another goroutine runs the loop after some milliseconds. See [Placement].
//   - The methods of a [Handler] are called on the connection's loop. They must not block. Data that only connections of one loop use
//     needs no lock.
//
// [Conn.SetHandler] changes the handler of a connection at any time, for example to one with another framing. With [Requests], any
// Handler can pass requests to the workers, as the one of Dispatch does.
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
// The goroutines of a server are one for each loop, one for each worker, and, while they are needed, one for each TLS handshake that runs,
// for each name that is looked up, for each file that the kernel cannot send, and for each listener without a descriptor. With
// [Server.UseLoops] the loops run on goroutines of the program.
//
// In profiles, the goroutines of a server have the label "evmq": "leader", with the label "loop", for one that runs a loop; "worker";
// "handshake"; "file"; "lookup"; "accept". A goroutine whose handler has lost the loop keeps the labels of a leader until the handler
// returns. A goroutine that a handler or a callback starts inherits its labels.
//
// # The order of a turn
//
// In each turn a loop
//
//  1. waits for descriptors that are ready, for timers, and for connections that other goroutines have queued;
//  2. accepts connections, up to AcceptBudget for each listener;
//  3. reads at most 64 KB from each connection that is ready, twice if its handler calls ReadInto, gives the bytes to its handler, and writes
//     the output that the handler has made, with one system call, unless the handler has written more than 16 KB at a time, which goes to the
//     kernel at once;
//  4. writes the output of connections that other goroutines have queued, and carries out commands such as Close;
//  5. passes the requests that it has found to the workers, together, except those that it runs itself after the turn, or, if few
//     connections are ready or the request is longer than 16 KB, before it reads the next connection.
//
// Work that exceeds a budget is done in a later turn, after the work for the other connections. See package event for the order of
// callbacks.
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
//	Conn.Close, Abort, a deadline, a limit, an error, Shutdown
//	                │
//	                ▼
//	     Handler.Close, with the reason
//
// The optional methods of a Handler are those of [EOFHandler], [MarkHandler], [LastDataHandler], [LimitHandler], [InputErrorHandler],
// [CheckHandler] and [ShutdownHandler].
//
// [Conn.Close] ends a connection in order: requests in progress are answered, output is flushed, the write side is closed, and input is
// discarded until the peer closes its half. [Conn.CloseWrite] closes the write side only; [Conn.Abort] ends the connection at once;
// [Conn.StartTLS] begins TLS on an open connection; [Conn.Detach] removes the connection from the server. The reason that Handler.Close is
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
//	                  └──> failed with a reason: the connection has ended before
//
// There is no other outcome. A caller can be notified of it, once, on the connection's loop: see [Conn.WriteNotify], [Conn.WriteOwned],
// [Conn.SendFile], the methods of Reply with these names, [Reply.Notify] and [Broadcast]. Bytes that the kernel has taken may not have
// reached the peer yet.
//
// # Order
//
// A write appends to the output of its connection under the connection's lock, so the writes of all goroutines and Close have one order.
// The requests of a connection are handled one at a time and answered in their order. With [Dispatcher.Concurrent] several are handled at a
// time and still answered in order. While a worker has the request of a connection, Data is not called. The bytes of a Reply, its files and
// owned slices included, are sent without other output in between, up to [Reply.Flush] or the end of its function. A Reply that is used
// after its function has returned fails with [ErrReplyEnded].
//
// # Answers that are completed later
//
// [Reply.Defer] keeps a Reply open when its function returns. Any goroutine completes the answer with the methods of Reply, and ends it with
// [Reply.Close]. Meanwhile the request holds no goroutine, and is in progress in every other respect: the order of the answers, the limits,
// the deadlines and Shutdown treat it as one whose function runs. A reply that is not closed within its timeout, by default ReplyTimeout of
// Server, ends the connection with [ErrReplyTimeout]. If the connection ends first, its context ends, and the methods of the reply return
// the reason.
//
// # Input while a request is in progress
//
// Data that is too long to be kept whole, such as the body of an HTTP request or a file that is sent to the server, need not be part of a
// message. The framing ends the message before the data, and the function reads the data from [Reply.Input], as it arrives: on the loop
// without waiting if it has arrived already, otherwise on a worker, or after Defer on any goroutine. At most MaxInput bytes are read
// ahead of the request; then the kernel's buffers fill, and the client stops. The methods of [Input] return io.EOF at the end of the stream,
// and [ErrClosed] after a reset. The bytes that the request does not consume are the next message, or go to the handler of
// [Conn.SetHandler], as for an upgrade to another protocol.
//
// With CancelOnEOF of [Dispatcher], or a [CancelHandler], the context of a request ends when the client closes its sending half while the
// request is in progress and no input is unread, or when the request has then consumed the rest by Input. So a handler can stop work for a
// client that has gone. Requests that are answered quickly cost no more than without it.
//
// # Limits
//
// The fields of [Server] limit the memory that is held for a connection in both directions (MaxInput, MaxOutput, HighWater), what the
// server holds in total (MaxBuffered), the connections (MaxConns), the requests that wait (Queue) and the TLS handshakes that run
// (MaxHandshakes). Each limit is on by default. Bytes count from their acceptance until the kernel has taken them or the handler has
// consumed them. MaxBuffered counts the memory that they occupy, including parts of TLS records and of PROXY headers. Files that wait to be
// sent may use a quarter of the process's descriptors, in addition to one for each connection.
//
// A connection with TLS on which nothing happens has no goroutine and no buffer of this package. It takes up what crypto/tls keeps, and less
// than 1 KB for all else. crypto/tls keeps 4 to 7 KB after small records, and up to 40 KB after large ones, until the connection ends. These
// buffers do not count towards MaxBuffered: MaxConns bounds them. The bytes of the client's handshake count above 8 KB, three times,
// because crypto/tls keeps them in several forms; a later handshake message that is not complete counts twice.
//
// At a limit the server stops reading, returns an error, or makes a worker wait. It discards nothing that it has accepted. The server does
// not read from a connection whose peer does not read. A reply may exceed MaxOutput by the bytes that are gathered before they become
// output of the connection, 16 KB on a worker and 64 KB on the loop. A reply larger than MaxOutput for a peer that does not read occupies its
// worker until WriteTimeout; a server with such replies needs a short one.
//
// # Deadlines
//
// The deadlines are IdleTimeout, ReadTimeout, FirstRequestTimeout, WriteTimeout, CloseTimeout, DrainTimeout, HandshakeTimeout and
// ReplyTimeout of Server, QueueTimeout without BusyText, and [DialConfig.Timeout]. They are independent of each other; the first one that
// passes closes the connection. While requests are in progress, IdleTimeout and CloseTimeout do not count, ReadTimeout counts for a request
// that is being read meanwhile and, in total, while a request waits in Reply.Input, and WriteTimeout always counts. [Conn.SetTimeouts]
// changes them for a connection.
//
// Apart from the end that the peer or the program has requested, and from errors of the system, a server ends a connection only because of
// a deadline; more than MaxInput bytes that the handler does not consume; MaxBuffered; MaxConns; a stream that is invalid for its framing,
// TLS or the PROXY protocol; FullCloseConn; a panic; a loop that the program closes; or Shutdown.
//
// # Errors
//
// An error names the operation and the value, and wraps an error of this package, of the system or of package net, for errors.Is and
// errors.As. Errors of wrong arguments and fields match [ErrInvalid]. Errors of closed connections, servers, loops and listeners match
// [net.ErrClosed]. Errors of deadlines are a net.Error whose Timeout method returns true, and match [os.ErrDeadlineExceeded].
//
// # Workers
//
// A worker answers up to 64 requests of one connection in succession, one at a time, as long as the connection's handler does not change. A
// request that waits needs no goroutine, and it does not wait behind a handler that blocks while a worker is idle. [Reply.Context] ends
// with the connection. A handler that waits should also watch this context, because the connection counts towards MaxConns until the
// handler has returned.
//
// # Executors
//
// The workers, with their queue, are an [Executor]: a [Pool]. A server may have further ones, by name, in Server.Executors: each is a Pool
// of [NewPool], or a type of the program. Dispatcher.Executor names the one for the requests that do not run on the loop, and
// Dispatcher.ExecutorFor chooses one for each message, so that a slow route does not take the workers of a quick one. The limits and the
// order of the workers' queue apply to each Executor by itself: a full one stops only the connections whose requests wait for it. The
// requests of a connection are answered in their order, whichever Executor has them; a request waits until the older ones in another
// Executor have ended. A handler that blocks a loop counts as one of the server's workers, unless it belongs to another Executor; while such a
// handler runs, no further request of its Executor begins on a loop.
//
// With Server.QueueTimeout a request that waits for too long is refused, with BusyText or by the end of its connection with
// [ErrQueueTimeout]. [Stats] counts what waits and runs in each Executor.
//
// # Clients
//
// [Server.Dial] begins a connection to another server and does not wait; Open of its Handler is called when the connection is open.
// [Server.DialContext] waits for that. Package [github.com/evmq/evmq/server/client] sends requests over a pool of such connections and waits for
// the answers. A function of Dispatch may call both wherever it runs. Other code that waits in a handler calls [Reply.Blocking] or
// [Server.Blocking] before, so that another goroutine runs the loop.
//
// # Datagrams
//
// A [PacketConn] is a UDP socket on the loops; see [Server.ListenPacket]. Its handler runs on a loop, or on workers with
// [DispatchPackets]. Any goroutine may answer with [PacketConn.WriteTo], which sends at once or fails. Nothing is kept or sent again;
// datagrams that the server discards are counted. An answer is sent from the address that the datagram was sent to.
//
// # The end of a server
//
// [Server.Shutdown] stops accepting; answers the requests that have arrived, also on connections that the kernel has established and on
// datagrams that have arrived; flushes and closes the connections, those last that the server has dialled; and returns when all goroutines
// of the server have ended and its descriptors are closed. When its context ends first, it aborts the connections that are left and returns
// a [ShutdownError] with the number of handlers and loops that it has not waited for. [Server.Close] is a Shutdown whose context has ended.
// Handler.Close is called for each connection for which Open was called.
//
// # Panics
//
// A callback that panics ends the program, unless OnPanic is set. With OnPanic, and when a callback calls runtime.Goexit, the connection of
// the callback is aborted with [ErrPanic], and the loop continues. Handlers of datagrams, and timers and posts that the program adds to a
// loop, belong to no connection.
//
// # Descriptors
//
// When the process has no descriptor left, a listener uses a reserve descriptor to refuse one client with BusyText, and pauses before it
// accepts again. [Stats] counts the pauses.
package server

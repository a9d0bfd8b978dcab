// Package server is for servers that hold many connections on little memory, with work that blocks: event loops do the
// network, workers run what blocks, answers come back in order, and everything has a limit.
//
// # The model
//
// A [Server] has loops, each on one goroutine, and a pool of workers. Every [Conn] belongs to one loop, which alone reads, writes
// and closes its descriptor. There are two ways to write a server, which mix:
//
//   - A [Handler]'s Open, Data and Close run on the connection's loop. They must not block, and need no lock among the
//     connections of a loop.
//   - [Dispatch] cuts the stream into messages and has a function answer each on a worker, where it may block, with a [Reply] to
//     write to.
//
// A connection can change from one to the other, or to another framing, at any time: see [Conn.SetHandler].
//
//	           kernel          one goroutine per loop                       worker goroutines
//	socket ──> event.Loop ──> Conn reads ──> framing ──> the workers' queue ──> Serve
//	   ^                          ^                                               │
//	   │                          └── the loop's queue ◄── "has output" ◄── Reply ◄┘
//	   └── one write per turn ◄── the connection's output ◄── Conn.Write, from anywhere
//
// # Goroutines
//
// Every exported method may be called from any goroutine, callbacks included, unless its comment ends with "Loop only." or
// "May block; not in a callback." Callbacks run without a lock of ours held. A call that would have to wait for the loop it
// is made on returns [event.ErrOnLoop].
//
// # What becomes of a write
//
//	Write ──> refused: ErrFull, ErrClosed. Nothing was taken.
//	  │
//	  └─────> accepted ──> given to the kernel
//	                  └──> failed, with the reason: the connection was closed before
//
// There is no third outcome, and a caller that asks ([Conn.WriteNotify], [Conn.WriteOwned], [Conn.SendFile], the methods of the same
// names and [Reply.Notify] of [Reply], [Broadcast]) is told which it was, once, on the connection's loop. That the kernel has the bytes does not mean that the peer has read them; nobody
// but the peer can say that.
//
// # Order
//
// A write appends to its connection's output under that connection's lock, whoever calls, and so there is one order over the
// writes from the loop and from anywhere else, closing included: [Conn.Close] comes behind what was written before it.
// Requests of one connection are handled one at a time and answered in their order; with [Dispatcher.Concurrent] several are
// handled at a time and still answered in order. While a worker has a connection's request, its Data is not called. The bytes
// of a Reply, its files and owned slices included, go out together up to [Reply.Flush] or the end of its function; what others write
// falls between replies. A Reply that is kept longer is refused with [ErrReplyEnded].
//
// # Bounds
//
// What is kept for a connection is bounded, in both directions, and so is all that the server keeps together: see MaxInput,
// MaxOutput, MaxBuffered, MaxConns and Queue of [Server]. Bytes count from when they are accepted to when the kernel has them; for
// MaxOutput a completion counts as 128 bytes and a file as 16 KB beside them, as do answers of a Concurrent [Dispatcher] that wait for older
// ones. For MaxBuffered all counts with the memory that it takes up, halves of TLS records and of PROXY headers too. The files of a server are bounded by a quarter of the process's descriptors besides
// one for each connection. At a
// limit the server stops reading, or says so to the caller, or lets a worker wait with a context; it does not drop
// anything that it has accepted. A connection whose peer does not read is not read from either (HighWater, LowWater). A reply under way
// may exceed MaxOutput by what it gathers before the connection takes it, 16 KB.
//
// The deadlines are independent of each other. While requests are in work, IdleTimeout and CloseTimeout do not count, ReadTimeout counts
// for a request that is being read meanwhile, and WriteTimeout always.
//
// A peer is cut off by these rules alone: the deadlines IdleTimeout, ReadTimeout, FirstRequestTimeout, WriteTimeout,
// CloseTimeout, DrainTimeout and HandshakeTimeout; more than MaxInput bytes that the handler does not consume; MaxBuffered; MaxConns; a
// stream that its framing, TLS or the PROXY protocol does not understand; WhenFull set to FullCloseConn. [Handler] Close is told the reason.
//
// # The workers
//
// A worker takes one request at a time, with what follows it on the same connection, up to 64, as long as no other framing
// is chosen. A request that waits for a handler takes no goroutine, and none waits behind a handler that blocks while a worker is
// idle. [Reply.Context] ends when the connection does: a handler that waits for something should wait for that, too, since a
// connection whose handler does not return keeps its place among MaxConns. A reply larger than MaxOutput to a peer that does not
// read keeps its worker until WriteTimeout; servers that send such replies want a short one.
//
// # Datagrams
//
// A [PacketConn] is a UDP socket on the loops: see [Server.ListenPacket]. Its handler runs on the loop, or on workers with [DispatchPackets],
// and any goroutine may answer with [PacketConn.WriteTo], which sends at once or not at all. Nothing is kept, nothing is sent again, and
// what is dropped here is counted. An answer comes from the address of this machine that the datagram was sent to. A shutdown handles the datagrams that have arrived, receives no more, and lets those be answered that
// were dispatched.
//
// # The end
//
// A peer that resets its connection, or whose connection fails a write, takes no more output: what waits fails, writes are refused with
// [ErrClosed] and [Conn.Context] ends. What has arrived from it is still given to the handler, within CloseTimeout, and then Close is told the
// reason. A reset is noticed also behind the end of the peer's stream, and while reading is paused, which ends the connection at once.
//
// [Server.Shutdown] stops accepting, answers what has been read or has arrived, connections that the kernel has established included,
// flushes, closes, those connections last that the server has dialled, and returns when every goroutine and descriptor of the server is gone; or, when its context ends first, aborts what is
// left and says how many handlers and loops it has not waited for. A handler is told of the end of each connection that it was told the
// beginning of. The loops are the server's: what ends a loop, as event's Break, is refused on [Conn.Loop] with event.ErrOwned.
//
// # Callbacks that do not return normally
//
// A callback that panics ends the program, unless OnPanic of [Server] is set. Then, and when a callback calls runtime.Goexit, the
// connection whose callback it was is aborted with ErrPanic, and the loop goes on. A datagram's handler and a user's timers and posts on a loop
// are no connection's.
//
// # Descriptors
//
// When the process has no descriptor left, a listener refuses one client politely by means of a reserve descriptor, rests, and
// goes on; nothing spins and nothing ends. See [Stats] for how often.
package server

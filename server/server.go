package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/workpool"
)

// The defaults of the fields of a Server.
const (
	DefaultWorkers          = 8                // Workers
	DefaultQueue            = 1024             // Queue, in requests
	DefaultMaxInput         = 64 << 10         // MaxInput, in bytes
	DefaultMaxOutput        = 1 << 20          // MaxOutput, in bytes
	DefaultMaxBuffered      = 1 << 30          // MaxBuffered, in bytes
	DefaultIdleTimeout      = 10 * time.Minute // IdleTimeout
	DefaultWriteTimeout     = 10 * time.Minute // WriteTimeout
	DefaultCloseTimeout     = 5 * time.Second  // CloseTimeout
	DefaultReplyTimeout     = 10 * time.Minute // ReplyTimeout
	DefaultAcceptBudget     = 64               // AcceptBudget, in connections
	DefaultMaxHandshakes    = 256              // MaxHandshakes
	DefaultHandshakeTimeout = 10 * time.Second // HandshakeTimeout
)

// Unlimited means no limit in the fields of a Server that limit something, as any other negative value does.
const Unlimited = -1

// A Server serves connections and datagrams. It has event loops, which do the network I/O, and workers, which run handlers that may block.
//
// The fields are set before Start, or before the first call that starts the server, and are not changed afterwards. The server copies them
// and does not write to them. The zero value of each field means its default. Unless the field's comment says otherwise, a negative value
// means no limit in a limit, and no deadline in a duration; in any other number it is an error. An invalid field makes Start fail with
// ErrInvalid and a text that names the field.
type Server struct {
	// Handler serves the connections: Dispatch makes one that may block. It is required, unless every ListenerConfig, DialConfig and
	// ConnConfig has a Handler.
	Handler Handler
	// PacketHandler serves the datagrams: DispatchPackets makes one that runs on workers. It is required for ListenPacket and AddPacketConn,
	// unless every PacketConfig has a Handler.
	PacketHandler PacketHandler

	// NumLoops is the number of event loops, each of which runs on a goroutine. 0 means the number of processors that the program may use
	// (GOMAXPROCS, and at most the processors of the machine). Fewer loops usually cost more, because each small batch of requests must
	// wake an idle processor. A negative value, or one above the limit of descriptors, is an error.
	NumLoops int
	// LoopConfig is the configuration of each loop. If its Logger is nil, it is the server's. SlowCallback also applies to handlers of
	// requests that run on a loop, and enables LongestHandler of their RouteStats; see Placement. Nil means the defaults.
	LoopConfig *event.Config
	// UseLoops, if not empty, are loops of the program that the server uses in place of its own. Several servers may share them. The server
	// neither runs nor closes them. Shutdown and Close remove the server's connections, listeners and events from them and leave them
	// usable. For that the loops must run: a loop that does not run delays Shutdown until its context ends, and the server is removed from
	// it when it runs again or is closed. If the program closes a loop while the server runs, the connections, listeners and sockets of
	// that loop end with ErrLoopClosed, and the server continues with the other loops. The functions of Dispatch always run on workers.
	// The server's deadlines are those of the loops' clocks; for what belongs to no loop, such as the pause of a listener without a
	// descriptor, that of the first.
	// NumLoops must be 0 or the number of these loops, and LoopConfig nil.
	UseLoops []*event.Loop
	// Balance says how the loop of a new connection is chosen. It does not apply if each loop accepts its own connections because of
	// ReusePort.
	Balance Balance
	// PickLoop, if not nil, chooses the loop instead of Balance. It is called with the address of the peer and the number of loops, and
	// returns the number of a loop, counted from 0. If no loop has the number, an error is logged and the next loop in turn is used. It is
	// called on the loop that has accepted the connection, or by Dial or AddConn. It must not block.
	PickLoop func(peer net.Addr, loops int) int
	// ReusePort opens a listening socket, or one for datagrams, for each loop with SO_REUSEPORT, so that each loop accepts its own
	// connections. It does not apply to unix sockets or to sockets that are added.
	ReusePort bool

	// Workers is the largest number of goroutines that run requests, at most 1048576. 0 means DefaultWorkers; a negative value is an error. If
	// it is above 64, the goroutines beyond 64 exist only while they are needed. A request that waits for a worker needs no goroutine.
	Workers int
	// Queue limits the number of requests that wait for a worker. The input of a connection that Requests.ServeInput has handed over counts
	// as one, whatever the number of its messages; a Dispatcher uses ServeInput unless Concurrent is more than 1. Each message of
	// Requests.Serve and each datagram of DispatchPackets counts as one. Datagrams may use half of it. 0 means DefaultQueue; a negative
	// value means no limit.
	Queue int
	// Executors are further Executors, by name, for the requests of an ExecutorHandler; Dispatcher.Executor names one. The server does not end
	// them. Datagrams, and the loops themselves, do not use them. A nil Executor, a Pool that
	// NewPool has not made, and the name "", are errors.
	Executors map[string]Executor
	// WhenFull says what happens to a request when Queue is reached, or when the Executor for it has no room.
	WhenFull FullPolicy
	// QueueTimeout limits the time for which a request waits for a worker, or in another Executor, including the time until there is room for
	// it. A request that has waited for longer is answered with BusyText, in the order of the requests, and does not run. If BusyText is "", its
	// connection is closed with ErrQueueTimeout. It also ends the wait when no worker becomes free any more. The time for which a request
	// waits for older ones of its connection, or runs, does not count, nor do datagrams. 0 means none, as does a negative value: how long an
	// answer is still of use depends on the protocol.
	QueueTimeout time.Duration
	// BusyText is sent to a client whose connection is refused, before the connection is closed, and as the answer to a request that
	// FullRefuse or QueueTimeout refuses. A client that uses TLS gets an alert instead when its connection is refused. "" sends nothing,
	// since the server does not know the protocol; with FullRefuse it is an error.
	BusyText string

	// MaxConns limits the number of open connections. 0 means the process's limit of descriptors less a sixteenth of it (at least 16 and
	// at most 256); a negative value means no limit; a value above the limit of descriptors is an error. A connection above MaxConns is sent
	// BusyText and closed.
	MaxConns int
	// AcceptBudget limits the number of connections that a listener accepts in a turn of its loop. 0 means DefaultAcceptBudget; a
	// negative value means no limit.
	AcceptBudget int

	// MaxInput limits the bytes that were read from a connection and that the handler has not consumed. A connection that exceeds it is
	// closed with ErrTooLong. A LimitHandler, such as a Dispatcher whose framing has a larger limit, raises it. It also limits the bytes that
	// are read ahead for a request that reads its Reply.Input; see Input. 0 means DefaultMaxInput; a negative value means no limit.
	MaxInput int
	// MaxOutput limits the output that waits on a connection; at the limit writes fail with ErrFull. A completion counts as 128 bytes and
	// a file as 16 KB. 0 means DefaultMaxOutput; a negative value means no limit.
	MaxOutput int
	// HighWater is the number of waiting bytes of output at which a connection is no longer read from. 0 means a quarter of MaxOutput; a
	// negative value means MaxOutput; a value above MaxOutput is an error.
	HighWater int
	// LowWater is the number of waiting bytes at which reading resumes. 0 means a quarter of HighWater; a negative value, or one that is
	// not below HighWater, is an error.
	LowWater int
	// MaxBuffered limits the memory that the whole server holds for output, for input that is not consumed, and for requests that wait or
	// are in progress. The overhead counts, too: a few bytes of output count as 2 KB. At the limit writes fail with ErrServerFull. A
	// connection is closed with ErrOverload if it then sends more input, or if an answer becomes ready for it that is larger than 16 KB or
	// follows output that its peer has not taken. A single write may exceed the limit by its own length and 20 KB, with TLS by twice that,
	// and the output of the callbacks that run by 4 KB for each loop. 0 means DefaultMaxBuffered; a negative value means no limit.
	MaxBuffered int64

	// The deadlines are independent of each other: each runs whatever the others do, and the first one that passes closes the connection.
	// In each of them a negative value means no deadline.

	// IdleTimeout closes a connection with ErrIdle when no byte was read or written for that time and no request is in progress. 0 means
	// DefaultIdleTimeout.
	IdleTimeout time.Duration
	// ReadTimeout closes a connection with ErrReadTimeout when a request has begun and is not complete after that time, even if bytes arrive
	// meanwhile. It does not count while the server does not read: while reading is paused, while the output is above HighWater, and
	// while as many requests are in progress as the handler permits. A request that reads its Reply.Input may wait for the client for that
	// time in total; the check may be late by a sixteenth of it. 0 means none.
	ReadTimeout time.Duration
	// FirstRequestTimeout closes a connection with ErrFirstRequest when its first request is not complete that time after Open. 0 means none.
	FirstRequestTimeout time.Duration
	// WriteTimeout closes a connection with ErrWriteTimeout when its peer has taken none of the waiting output for that time, also while
	// requests are in progress. 0 means DefaultWriteTimeout.
	WriteTimeout time.Duration
	// CloseTimeout ends a close by Conn.Close or Shutdown with ErrCloseTimeout when the peer has taken no output for that time. It does not
	// end a transfer that progresses. After all output it bounds the time for which the server waits for the peer to close its half; the
	// connection then ends with the reason of the close. It does not count while a request is in progress and no output waits. Without it,
	// a peer that continues to send after all output is reset after 64 MB. 0 means DefaultCloseTimeout.
	CloseTimeout time.Duration
	// DrainTimeout bounds the time for which a Shutdown waits for the peer of a connection to close its half, if the connection was not idle
	// and its output is flushed. It counts from the last byte that was read or written. 0 means none: CloseTimeout alone applies.
	DrainTimeout time.Duration

	// ReplyTimeout closes a connection with ErrReplyTimeout when Reply.Close was not called within that time after Reply.Defer(0). 0 means
	// DefaultReplyTimeout.
	ReplyTimeout time.Duration

	// TLS, if not nil, makes all listeners use TLS. The certificates and their renewal (GetCertificate, GetConfigForClient), client
	// certificates, ALPN and session tickets are those of package crypto/tls.
	TLS *tls.Config
	// HandshakeTimeout bounds the time from accept to the end of a PROXY header and a TLS handshake together. 0 means
	// DefaultHandshakeTimeout; a negative value means none.
	HandshakeTimeout time.Duration
	// MaxHandshakes limits the number of TLS handshakes that run at the same time. A handshake runs, on a goroutine, when its ClientHello
	// is complete. The others wait. While one waits, the oldest running handshake that has waited for its client for a second in total is
	// closed with ErrHandshake, even if bytes arrive meanwhile; if many wait, that time falls to half a second. 0 means
	// DefaultMaxHandshakes; a negative value means no limit.
	MaxHandshakes int

	// ProxyProtocol makes the connections of all listeners begin with a PROXY header of version 1 or 2. Its address becomes
	// Conn.RemoteAddr.
	ProxyProtocol bool

	// ReadLimit and WriteLimit limit the rates of each connection. ReadLimit does not apply in a Shutdown, which answers what has arrived. See
	// also RateGroup. The zero value means no limit.
	ReadLimit, WriteLimit RateLimit
	// RateGroup, if not nil, limits the rates of all connections together, with those of other servers that have the same group.
	RateGroup *RateGroup

	// Socket has the options of the sockets that the server opens, accepts or is given, except for connections given to AddConn, which keep
	// their own.
	Socket SocketOptions
	// ListenConfig opens the sockets of Listen, ListenAndServe and ListenPacket. Its Control function is called after Socket was applied.
	ListenConfig net.ListenConfig

	// OnReject, if not nil, is called on the loop when a connection that was accepted, or given to AddConn without ConnConfig.Client, ends
	// before Open, for example because of a failed TLS handshake, an invalid PROXY header, HandshakeTimeout, a reset or Shutdown. No method
	// of the handler is called for it.
	OnReject func(c *Conn, reason error)

	// OnPanic, if not nil, is called when a callback panics, on the goroutine of the callback. The connection is then aborted with
	// ErrPanic, and the server continues. c is nil if the callback belongs to no connection, as a PacketHandler does not. If OnPanic is
	// nil, a panic ends the program.
	OnPanic func(c *Conn, v any, stack []byte)
	// Logger logs errors that no call can return. Nil means slog.Default().
	Logger *slog.Logger

	calls sock.Calls // the system calls; tests replace them

	mu          sync.Mutex // guards the fields up to the empty line
	state       serverState
	listeners   map[*Listener]struct{}
	packets     map[*PacketConn]struct{}
	stopWaiting context.CancelCauseFunc // ends the wait of the Shutdown that has set it
	outcome     error                   // the result of Shutdown; valid when done is closed

	// Set by Start and not changed afterwards.
	cfg             *config
	baseCtx         context.Context // ends when the context of a Shutdown ends; the parent of the contexts of connections and lookups
	cancelBase      context.CancelCauseFunc
	loops           []*loop
	pool            *workpool.Pool[Job]
	own             *Pool       // has pool
	executors       []*executor // the first is that of pool
	executorsByName map[string]*executor
	done            chan struct{} // closed when the server has ended
	// programLoops has the loops of UseLoops; nil for none.
	programLoops atomic.Pointer[[]*loop]
	goroutines   sync.WaitGroup // goroutines that the end of the server waits for: of loops, lookups, file reads and listeners without a descriptor
	adding       sync.WaitGroup // calls that add a connection, except dials; none begins after a shutdown has begun

	phase      atomic.Uint32 // a shutdownPhase
	ending     atomic.Bool   // a shutdown has begun; can be read without mu
	conns      table
	ids        atomic.Uint64            // connections so far; see Conn.gen
	next       atomic.Uint32            // calls of nextLoop
	timeouts   atomic.Pointer[Timeouts] // of the last SetTimeouts; nil for none
	_          [64]byte                 // buffered, which changes with each request, has its own cache line
	buffered   atomic.Int64             // bytes accepted for output and kept as input
	_          [64]byte
	dials      openCount // calls that dial; none begins in phaseOutgoing
	open       openCount
	incoming   openCount    // the connections in open that are not outgoing
	aborted    atomic.Int64 // connections that were open when Shutdown's context ended
	files      atomic.Int64 // files that wait to be sent, on all connections
	attempts   atomic.Int64 // attempts to connect that are under way, except one for each Dial
	deferrals  atomic.Int64 // deferred replies whose functions have returned and that have not ended
	abandoned  atomic.Int64 // the same, when Shutdown's context ended
	jobs       openCount    // datagrams that wait for a worker or are in progress
	running    openCount    // jobs that run in Executors other than the server's pool
	totals     totals
	reserve    reserve
	handshakes handshakes
	room       roomWaiters
}

// serverState is the state of a Server. It only grows.
type serverState uint8

const (
	serverNew serverState = iota
	serverRunning
	serverDraining // Shutdown has begun: there are no new connections, and open connections are closed
	serverClosed
)

func (s serverState) String() string { return [...]string{"new", "running", "draining", "closed"}[s] }

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
	DefaultAcceptBudget     = 64               // AcceptBudget, in connections
	DefaultMaxHandshakes    = 256              // MaxHandshakes
	DefaultHandshakeTimeout = 10 * time.Second // HandshakeTimeout
)

// Unlimited is a value for the fields of a Server that limit something: any negative value means no limit.
const Unlimited = -1

// A Server serves connections and datagrams. It has event loops, which do the network's work, and workers, which run handlers that may
// block.
//
// The fields are set before Start, or before the first call that starts the server, and are not changed afterwards. The server copies them
// and does not write to them. The zero value of each field is its default. In a field that limits something a negative value means no
// limit, in a duration none, and in a count or a size that is no limit it is an error. An invalid field makes Start fail with ErrInvalid
// and a text that names the field.
type Server struct {
	// Handler serves the connections: Dispatch makes one that runs on workers. It is required, unless every ListenerConfig, DialConfig and
	// ConnConfig has a Handler.
	Handler Handler
	// PacketHandler serves the datagrams: DispatchPackets makes one that runs on workers. It is required for ListenPacket and AddPacketConn,
	// unless every PacketConfig has a Handler.
	PacketHandler PacketHandler

	// NumLoops is the number of event loops, each of which runs on a goroutine. 0 means the number of processors that the program may use
	// (GOMAXPROCS, and at most the processors of the machine). Fewer loops usually cost more, because each small batch of requests must
	// wake an idle processor. A negative value, or one above the limit of descriptors, is an error.
	NumLoops int
	// LoopConfig is the configuration of each loop. If its Logger is nil, it is the server's. Nil means the defaults.
	LoopConfig *event.Config
	// UseLoops, if not empty, are loops of the program that the server uses in place of its own. Several servers may share them. The server
	// neither runs nor closes them. Shutdown and Close remove the server's connections, listeners and events from them and leave them
	// usable. For that the loops must run: a loop that does not run holds Shutdown up until its context ends, and is left when it runs
	// again or is closed. If the program closes a loop while the server runs, the connections, listeners and sockets of that loop end with
	// ErrLoopClosed, and the server goes on with the other loops. The functions of Dispatch always run on workers. NumLoops must be 0 or
	// the number of these loops, and LoopConfig nil.
	UseLoops []*event.Loop
	// Balance is the way to choose the loop of a new connection, unless each loop accepts for itself because of ReusePort.
	Balance Balance
	// PickLoop, if not nil, chooses the loop instead of Balance. It is called with the address of the peer and the number of loops, and
	// returns the number of a loop, counted from 0. It is called on the loop that has accepted the connection, or by Dial or AddConn. It must not
	// block.
	PickLoop func(peer net.Addr, loops int) int
	// ReusePort opens a listening socket, or one for datagrams, for each loop with SO_REUSEPORT, so that each loop accepts for itself. It
	// does not apply to unix sockets, and to sockets that are added.
	ReusePort bool

	// Workers is the number of goroutines that run requests, at most 1048576. 0 means DefaultWorkers; a negative value is an error. A request
	// that waits for a worker needs no goroutine.
	Workers int
	// Queue limits the number of requests that wait for a worker. The input of a connection that Executor.ServeInput has handed over, as
	// a Dispatcher does unless Concurrent is more than 1, counts as one, whatever the number of its messages. Each message of
	// Executor.Serve and each datagram of DispatchPackets counts as one. Datagrams may use half of it. 0 means DefaultQueue; a negative
	// value means no limit.
	Queue int
	// WhenFull is what happens to a request that finds Queue full.
	WhenFull FullPolicy
	// BusyText is sent to a client whose connection is refused, before the connection is closed, and as the answer to a request that
	// FullRefuse refuses. A client that uses TLS gets an alert instead when its connection is refused. "" sends nothing, since the server
	// does not know the protocol; with FullRefuse it is an error.
	BusyText string

	// MaxConns limits the number of open connections. 0 means the process's limit of descriptors less a sixteenth of it (at least 16 and
	// at most 256); a negative value means no limit; a value above the limit of descriptors is an error. A connection above MaxConns is sent
	// BusyText and closed.
	MaxConns int
	// AcceptBudget limits the number of connections that a listener accepts in a turn of its loop. 0 means DefaultAcceptBudget; a
	// negative value means no limit.
	AcceptBudget int

	// MaxInput limits the bytes of a connection that were read and that the handler has not consumed. A connection that exceeds it is closed
	// with ErrTooLong. A LimitHandler, such as a Dispatcher whose framing has a larger limit, raises it. 0 means DefaultMaxInput; a
	// negative value means no limit.
	MaxInput int
	// MaxOutput limits the output that waits on a connection; above it writes fail with ErrFull. A completion counts as 128 bytes and
	// a file as 16 KB. 0 means DefaultMaxOutput; a negative value means no limit.
	MaxOutput int
	// HighWater is the number of waiting bytes of output at which a connection is no longer read from. 0 means a quarter of MaxOutput; a
	// negative value means MaxOutput; a value above MaxOutput is an error.
	HighWater int
	// LowWater is the number of waiting bytes at which reading goes on. 0 means a quarter of HighWater; a negative value, or one that is
	// not below HighWater, is an error.
	LowWater int
	// MaxBuffered limits the memory that the whole server holds for output, for input that is not consumed, and for requests that wait or are in
	// work. All is counted with its overhead: a few bytes of output that wait count as 2 KB. Above the limit writes fail with
	// ErrServerFull. A connection is closed with ErrOverload if it sends more input then, or if an answer becomes ready for it that is larger
	// than a few kilobytes or comes while it has not taken the answer before. A single write may exceed the limit by its own length and 20 KB,
	// with TLS by twice that. 0 means DefaultMaxBuffered; a negative value means no limit.
	MaxBuffered int64

	// The deadlines are independent of each other: each runs whatever the others do, and the first one that ends closes the connection. In
	// each of them a negative value means none.

	// IdleTimeout closes a connection with ErrIdle when no byte was read or written for that time and no request is in progress. 0 means
	// DefaultIdleTimeout.
	IdleTimeout time.Duration
	// ReadTimeout closes a connection with ErrReadTimeout when a request has begun and is not complete after that time, even if bytes arrive
	// meanwhile. It does not count while the server does not read: while reading is paused, while the output is above HighWater, and
	// while as many requests are in progress as the handler permits. 0 means none.
	ReadTimeout time.Duration
	// FirstRequestTimeout closes a connection with ErrFirstRequest when its first request is not complete that time after Open. 0 means none.
	FirstRequestTimeout time.Duration
	// WriteTimeout closes a connection with ErrWriteTimeout when its peer has taken none of the waiting output for that time, also while
	// requests are in progress. 0 means DefaultWriteTimeout.
	WriteTimeout time.Duration
	// CloseTimeout closes a connection that is being closed, by Conn.Close or Shutdown, with ErrCloseTimeout when for that time the peer
	// has taken no output, or, after all output, has not closed its half. A transfer that progresses is not ended by it. It does not count
	// while a request is in progress and no output waits. Without it, a peer that goes on sending after all output is reset after 64 MB. 0 means
	// DefaultCloseTimeout.
	CloseTimeout time.Duration
	// DrainTimeout bounds the time for which a Shutdown waits for the peer of a connection to close its half, if the connection was not idle
	// and its output is flushed. It counts from the last byte that was read or written. 0 means none: CloseTimeout alone applies.
	DrainTimeout time.Duration

	// TLS, if not nil, makes all listeners use TLS. The certificates and their renewal (GetCertificate, GetConfigForClient), client
	// certificates, ALPN and session tickets are those of package crypto/tls.
	TLS *tls.Config
	// HandshakeTimeout bounds the time from accept to the end of a PROXY header and a TLS handshake together. 0 means
	// DefaultHandshakeTimeout; a negative value means none.
	HandshakeTimeout time.Duration
	// MaxHandshakes limits the number of TLS handshakes that run at the same time, each on a goroutine from when its ClientHello is complete. The
	// others wait. While one waits, the oldest handshake that has waited for its client for a second in total is closed with
	// ErrHandshake, even if bytes arrive meanwhile; if many wait, that time falls to half a second. 0 means DefaultMaxHandshakes; a negative
	// value means no limit.
	MaxHandshakes int

	// ProxyProtocol makes the connections of all listeners begin with a PROXY header of version 1 or 2. Its address becomes
	// Conn.RemoteAddr.
	ProxyProtocol bool

	// ReadLimit and WriteLimit limit the rates of each connection. ReadLimit does not apply in a Shutdown, which answers what has arrived. See
	// also RateGroup. The zero value means no limit.
	ReadLimit, WriteLimit RateLimit
	// RateGroup, if not nil, limits the rates of all connections together, with those of other servers that have the same group.
	RateGroup *RateGroup

	// Socket has the options of the sockets that the server opens, accepts from or accepts. A connection given to AddConn keeps its own.
	Socket SocketOptions
	// ListenConfig opens the sockets of Listen, ListenAndServe and ListenPacket. Its Control function is called after Socket was applied.
	ListenConfig net.ListenConfig

	// OnReject, if not nil, is called on the loop when a connection that was accepted, or given to AddConn without ConnConfig.Client,
	// ends before Open, for whatever reason: a failed TLS handshake, an invalid PROXY header, HandshakeTimeout, a reset or Shutdown, for
	// example. No method of the handler is called for it.
	OnReject func(c *Conn, reason error)

	// OnPanic, if not nil, is called when a callback panics, on the goroutine where it happened. The connection is then aborted with
	// ErrPanic, and the server goes on. c is nil if the callback belongs to no connection, as a PacketHandler. If OnPanic is nil, a
	// panic ends the program.
	OnPanic func(c *Conn, v any, stack []byte)
	// Logger logs errors that no call can return. Nil means slog.Default().
	Logger *slog.Logger

	calls sock.Calls // the system calls; tests replace them

	mu          sync.Mutex // guards the next lines
	state       serverState
	listeners   map[*Listener]struct{}
	packets     map[*PacketConn]struct{}
	baseCtx     context.Context // ends when the context of a Shutdown ends; the parent of the contexts of connections and lookups
	cancelBase  context.CancelCauseFunc
	stopWaiting context.CancelCauseFunc // ends the waiting of a Shutdown; set by it
	outcome     error                   // of Shutdown, when done is closed

	// Fixed by Start.
	cfg      *config
	loops    []*loop
	pool     *workpool.Pool
	done     chan struct{}  // closed when the server has ended
	down     sync.WaitGroup // the goroutines that run the loops
	arriving sync.WaitGroup // calls that add a connection; none begins after a shutdown has begun

	phase    atomic.Uint32 // a shutdownPhase; for the loops
	ending   atomic.Bool   // a shutdown has begun; as state
	conns    table
	ids      atomic.Uint64
	next     atomic.Uint32 // round robin
	buffered atomic.Int64  // bytes accepted for output and kept as input
	open     openCount
	incoming openCount    // those of open that the server did not dial
	aborted  atomic.Int64 // connections that were open when Shutdown's context ended
	files    atomic.Int64 // that wait to be sent, of all connections
	attempts atomic.Int64 // to connect that are under way, besides one for each Dial
	jobs     openCount    // datagrams that wait for a worker or are in progress
	totals   totals
	reserve  reserve
	shaking  handshakes
	room     roomWaiters
}

type serverState uint8

const (
	serverNew serverState = iota
	serverRunning
	serverDraining // no new connection; those that are open end
	serverClosed
)

func (s serverState) String() string { return [...]string{"new", "running", "draining", "closed"}[s] }

package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/workpool"
)

// Defaults of a Server's fields, which a zero stands for.
const (
	DefaultWorkers          = 8
	DefaultQueue            = 1024
	DefaultMaxInput         = 64 << 10
	DefaultMaxOutput        = 1 << 20
	DefaultMaxBuffered      = 1 << 30
	DefaultIdleTimeout      = 10 * time.Minute
	DefaultWriteTimeout     = 10 * time.Minute
	DefaultCloseTimeout     = 5 * time.Second
	DefaultAcceptBudget     = 64
	DefaultMaxHandshakes    = 256
	DefaultHandshakeTimeout = 10 * time.Second
)

// Unlimited takes the limit away from a field that limits.
const Unlimited = math.MaxInt

// A Balance chooses the loop of a new connection. See Server.Balance.
type Balance uint8

// The ways to choose.
const (
	BalanceRoundRobin Balance = iota // one loop after the other
	BalanceLeastConns                // the loop that has the fewest connections
	BalanceSourceHash                // the same loop for the same peer address
)

// A FullPolicy is what becomes of a request that finds the workers' queue full.
type FullPolicy uint8

// The policies.
const (
	FullStopReading FullPolicy = iota // it waits, and its connection is not read from; nothing is refused
	FullRefuse                        // it is answered with BusyText, which must be set, in its turn
	FullCloseConn                     // its connection is closed, with ErrOverload
)

// String is the policy's name. Any goroutine.
func (p FullPolicy) String() string {
	switch p {
	case FullStopReading:
		return "stop reading"
	case FullRefuse:
		return "refuse"
	case FullCloseConn:
		return "close connection"
	}
	return fmt.Sprintf("FullPolicy(%d)", uint8(p))
}

// A Server has loops, which do the network, and workers, which run what blocks. Its fields are set before Start (or Serve, or
// ListenAndServe) and not changed afterwards. Zero values are replaced by defaults; what makes no sense is ErrInvalid from
// the start call. A negative duration means none.
type Server struct {
	// Handler serves the connections: Dispatch makes one that runs on workers. Required, unless every Listener and every
	// Dial brings its own.
	Handler Handler
	// PacketHandler serves the datagrams of sockets whose PacketConfig has no handler: DispatchPackets makes one that runs on workers.
	// Required, unless every PacketConfig has a Handler or there are none.
	PacketHandler PacketHandler

	// NumLoops is how many event loops there are, each on a goroutine. 0 means one for each processor
	// that the program may use: with fewer, a processor that has nothing else to do is woken for each small batch of requests.
	NumLoops int
	// LoopConfig is the configuration of each loop. Its Logger is the server's if it is nil. Nil means the defaults.
	LoopConfig *event.Config
	// UseLoops, if not empty, are loops of the program that the server uses in place of its own; several servers may share them. The server
	// neither runs nor closes them. Shutdown and Close remove everything of the server from them and leave them usable; for that the loops have
	// to run, and a Shutdown waits for a loop that does not run until its context ends. If the program closes a loop while the server runs,
	// the connections, listeners and sockets of that loop end with ErrLoopClosed. The functions of a Dispatcher always run on workers.
	// NumLoops must be 0 or the number of these loops, and LoopConfig nil.
	UseLoops []*event.Loop
	// Balance chooses the loop of a new connection where one loop accepts for all; PickLoop, if set, does instead: it gets
	// the peer and the number of loops, runs on the accepting loop, and returns a number below it.
	Balance  Balance
	PickLoop func(peer net.Addr, loops int) int
	// ReusePort opens a listening socket for every loop, by SO_REUSEPORT, so that each accepts for itself. Not for Serve and unix
	// sockets, which have one.
	ReusePort bool

	// Workers is how many goroutines run requests, 1048576 at most; a request that waits has no goroutine. 0 means DefaultWorkers.
	Workers int
	// Queue bounds how many connections' requests wait for a worker, over the whole server. 0 means DefaultQueue, Unlimited no bound.
	Queue int
	// WhenFull is what becomes of the request that finds Queue full.
	WhenFull FullPolicy
	// BusyText is sent to a client whose connection is refused, before the connection is closed, and in answer to a request that FullRefuse
	// refuses. A client that speaks TLS gets an alert instead when its connection is refused. "" sends nothing, since the server does not
	// know the protocol; with FullRefuse it is ErrInvalid.
	BusyText string

	// MaxConns bounds the open connections of the server. 0 means what the process's limit of descriptors allows, less a
	// reserve of a sixteenth (16 at least, 256 at most); more than that is an error. A connection above it is sent BusyText and closed.
	MaxConns int
	// AcceptBudget bounds the connections that one listener accepts in a turn. 0 means DefaultAcceptBudget.
	AcceptBudget int

	// MaxInput bounds what is kept for a connection and not consumed. 0 means DefaultMaxInput; a Dispatcher's framing may raise
	// it to its own limit.
	MaxInput int
	// MaxOutput is how much output a connection may hold for Write to be accepted. A completion counts as 128 bytes and a file as 16 KB.
	// 0 means DefaultMaxOutput.
	MaxOutput int
	// HighWater and LowWater: a connection that holds HighWater bytes of output is not read from until it holds no more
	// than LowWater. 0 means a quarter of MaxOutput, and a quarter of HighWater.
	HighWater, LowWater int
	// MaxBuffered is what the whole server may hold: output, input that is kept, and requests at the workers, each with the memory that it
	// takes up, which for a few bytes of output that wait is 2 KB. Above it writes are refused
	// with ErrServerFull, and connections that send more, or whose answer is there while they have not taken the last one, or is larger
	// than a few kilobytes, are closed with ErrOverload. A single write may pass it by its own length and 20 KB, with TLS twice that. 0 means DefaultMaxBuffered.
	MaxBuffered int64

	// The deadlines are independent of each other: each runs whatever the others do, and a connection is closed by the one that ends
	// first.

	// IdleTimeout closes a connection on which no byte has moved for so long and no request is in work. 0 means
	// DefaultIdleTimeout.
	IdleTimeout time.Duration
	// ReadTimeout closes a connection whose request was begun and is not complete after so long, however slowly bytes still
	// come. It does not count while the server itself does not read: while reading is paused, the output is above HighWater, or as many
	// requests are in work as may be. 0 means none.
	ReadTimeout time.Duration
	// FirstRequestTimeout closes a connection whose first request is not there so long after it was opened. 0 means none.
	FirstRequestTimeout time.Duration
	// WriteTimeout closes a connection whose peer has taken none of the waiting output for so long, also while requests are in work.
	// 0 means DefaultWriteTimeout.
	WriteTimeout time.Duration
	// CloseTimeout closes a connection that is being closed, by Close or Shutdown, when the peer has done nothing towards that
	// for so long: it has taken no output, and has not closed its half after the last output. A transfer that progresses is not ended
	// by it, nor does it count while a request is in work and no output waits for the peer. 0 means DefaultCloseTimeout.
	CloseTimeout time.Duration
	// DrainTimeout bounds, during Shutdown, how long a connection that was not idle and whose output is flushed waits for its peer to
	// close. It counts from the last byte that moved. 0 means none: CloseTimeout alone bounds it.
	DrainTimeout time.Duration

	// TLS makes the server speak TLS on every listener. The configuration is the standard library's: certificates and their
	// reload (GetCertificate, GetConfigForClient), client certificates, ALPN, session tickets.
	TLS *tls.Config
	// HandshakeTimeout bounds a PROXY header and a TLS handshake together, from accept on. 0 means DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
	// MaxHandshakes bounds how many TLS handshakes run at once, each on a goroutine from when its ClientHello is complete;
	// others wait. While one waits, the oldest handshake that has waited for its client for a second, all its waits together, is closed
	// with ErrHandshake, however often bytes still come; when many wait, after down to half a second. 0 means DefaultMaxHandshakes.
	MaxHandshakes int

	// ProxyProtocol makes every connection begin with a PROXY header of version 1 or 2; its address becomes RemoteAddr.
	ProxyProtocol bool

	// ReadLimit and WriteLimit are token buckets of bytes for each connection; see also RateGroup. The zero value is no limit.
	ReadLimit, WriteLimit RateLimit
	// RateGroup, if not nil, limits the connections of the server together, and those of other servers with the same group.
	RateGroup *RateGroup

	// Socket are the options of the server's sockets: listening, accepted, dialled and for datagrams. A connection that is adopted
	// keeps its own.
	Socket SocketOptions
	// ListenConfig opens the sockets of Listen and ListenAndServe; its Control comes before ours.
	ListenConfig net.ListenConfig

	// OnReject, if set, is told on the loop of an accepted connection that ended before Open: by a failed TLS handshake, a wrong
	// PROXY header, or the end of its time for them. The handler never hears of it.
	OnReject func(c *Conn, reason error)

	// OnPanic, if set, is told of a callback's panic, on the goroutine where it happened; then the connection is aborted, with
	// ErrPanic, and the server goes on. Without it a panic ends the program. Where there is no connection, as with a datagram, c is nil.
	OnPanic func(c *Conn, v any, stack []byte)
	// Logger takes what no caller can be told. Nil means slog.Default().
	Logger *slog.Logger

	calls sock.Calls // the kernel's, except in tests

	mu          sync.Mutex // guards the next lines
	state       serverState
	listeners   map[*Listener]struct{}
	packets     map[*PacketConn]struct{}
	cutCtx      context.Context // ends at shutdown's deadline, with everything that still runs
	cut         context.CancelCauseFunc
	stopWaiting context.CancelCauseFunc // ends the waiting of a Shutdown; set by it
	outcome     error                   // of Shutdown, when done is closed

	// Fixed by Start.
	cfg      *config
	loops    []*loop
	pool     *workpool.Pool
	done     chan struct{}  // closed when the server is down
	down     sync.WaitGroup // the goroutines that run the loops
	arriving sync.WaitGroup // calls that bring a connection; none begins once a shutdown has begun

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
	jobs     openCount    // datagrams that wait for a worker or are in work
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

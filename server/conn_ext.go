package server

import (
	"net"
	"reflect"
	"sync"
	"time"

	"github.com/evmq/evmq/internal/outq"
)

// ext has the state that only some connections need, for example a handler of their own, TLS, rate limits or a context. Most connections have
// none. The connection's mu guards it, except for the fields that are marked Loop only and for what the comment of loopConn names. Its small
// fields are beside each other, because each connection with TLS has an ext.
type ext struct {
	handler       Handler
	newHandler    bool           // handler was set by SetHandler, and its framing has not begun
	canceled      bool           // CancelHandler: ctx has ended because the peer has closed its sending half
	exclusive     bool           // a reply is sent in pieces: other writes are deferred
	outgoing      bool           // made by Dial, or given to AddConn with ConnConfig.Client; set before the connection is given to its loop
	detached      bool           // Detach has given the descriptor to its function
	counts        bool           // DetachCounted: it counts as open until the function's leave is called
	unopened      bool           // Open was not called yet: connecting, TLS or a PROXY header comes first
	handshake     handshakeState // Loop only; see loopConn.handshake
	unacked       int32          // bytes that the peer's system had not acknowledged at the last check. Loop only
	lateReads     int32          // reads while the server shuts down, the connection is closing, or the peer has hung up. Loop only
	pauses        []any          // the owners of PauseRead
	reason        error          // why the connection ends; see setReason
	ctx           *connContext   // of Context; nil if it was not called
	room          chan struct{}  // closed when the output has room; made by the goroutine that waits
	deferred      *outq.Queue    // the writes that wait for the end of the exclusive reply
	detach        func(net.Conn, []byte, error)
	upgrade       *upgrade    // StartTLS
	afterTLS      *outq.Queue // writes after StartTLS, which will be encrypted
	timers        *ConnTimer  // the list of the running timers; see AfterFunc
	deferrals     *deferral   // the list of the deferred replies whose functions have returned
	fetched       *fetched    // a piece of the file at the head of the output, which the kernel cannot send
	tls           *tlsState
	rates         *rates // nil without rate limits
	dial          *dialing
	stopContext   func() bool // ends the effect of Dial's context; nil if it has none
	conc          *concurrency
	proxied       *proxied
	timeouts      *Timeouts
	dialOpened    func(error)   // of DialContext; see Server.dial. Loop only, from the begin of the connection on
	dialTimeout   time.Duration // of Dial; set before the connection is given to its loop
	setupDeadline time.Duration // the time by which Dial, or the PROXY header and the TLS handshake, must have ended. Loop only
	lastBytes     int64         // bytes read of a connection that only maxLastBytes ends. Loop only
	readBuf       []byte        // the buffer of the next read, from ReadInto. Loop only
}

// extra returns c's ext, which is made if there is none. Under mu.
func (c *Conn) extra() *ext {
	if c.ext == nil {
		c.ext = exts.Get().(*ext)
	}
	return c.ext
}

// exts has the exts that connections have dropped, so that a connection which needs one for a short time does not allocate it.
var exts = sync.Pool{New: func() any { return new(ext) }}

// dropExt drops the ext if all of it has its zero value: what has needed it, such as a timer, a pause or a reply that was sent in pieces, is
// over. An idle connection then does without its memory, and its output takes the short paths of connections without an ext. A connection
// with a layer keeps its ext; see layers. Under mu, on the loop, at the end of its work on the connection.
func (c *loopConn) dropExt() {
	if c.ext == nil || c.layers != 0 {
		return
	}
	if c.in == nil && !c.hasRequests() {
		c.ext.newHandler = false // the next input begins with a new cursor in any case
	}
	if c.ext.isZero() {
		exts.Put(c.ext)
		c.ext = nil
	}
}

// isZero reports whether all fields have their zero values. It looks first at the fields that are most often set for long. Under the
// connection's mu.
func (x *ext) isZero() bool {
	if x.handler != nil || x.timers != nil || x.conc != nil || x.reason != nil || x.ctx != nil || x.timeouts != nil {
		return false
	}
	return reflect.ValueOf(x).Elem().IsZero()
}

package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// The defaults of the fields of a Client.
const (
	DefaultMaxConns      = 8                // MaxConns
	DefaultMaxWaiting    = 1024             // MaxWaiting, in calls
	DefaultIdleTimeout   = 90 * time.Second // IdleTimeout
	DefaultAnswerTimeout = 10 * time.Minute // AnswerTimeout
)

// LargestPipeline is the largest value of Client.Pipeline.
const LargestPipeline = 1 << 12

// A Client sends requests to one address and returns the answers. Any goroutine may call its methods. Each call gets the answer to its own
// request: a connection answers its requests in their order.
//
// The fields are set before the first request and are not changed afterwards. The Client copies them and does not write to them. Unless the
// comment says otherwise, 0 means the default, and a negative value means no limit in a limit and no deadline in a duration.
type Client struct {
	// Server has the loops on which the connections are. It must be started before the first request. Required.
	Server *server.Server
	// Network is "tcp", "tcp4", "tcp6" or "unix". "" means "tcp".
	Network string
	// Address is in the form of net.Dial. Required.
	Address string
	// Framing cuts the stream of answers. Its limit is that of an answer. Required.
	Framing framing.Framing

	// TLS, if not nil, makes the connections use TLS, as its client; see server.DialConfig.
	TLS *tls.Config
	// DialTimeout bounds the opening of a connection, as DialConfig.Timeout does. 0 means server.DefaultDialTimeout.
	DialTimeout time.Duration
	// Resolver looks up the names of hosts and services. Nil means net.DefaultResolver.
	Resolver *net.Resolver

	// MaxConns limits the number of connections, including those that are being opened or closed. 0 means DefaultMaxConns.
	MaxConns int
	// MaxIdle limits the number of connections that are kept without a request. The one that was used longest ago is closed. 0 means
	// MaxConns.
	MaxIdle int
	// IdleTimeout closes a connection that has had no request for that time. 0 means DefaultIdleTimeout.
	IdleTimeout time.Duration
	// Pipeline is the number of requests that a connection may have at once. The peer must answer them in their order. 0 means 1; a negative
	// value, or one above LargestPipeline, is an error.
	Pipeline int
	// MaxRequests limits the number of requests of a connection. It is closed when the last of them is answered. It is for peers that close
	// a connection after so many answers: a request that is sent at that moment would have none. 0 means no limit.
	MaxRequests int
	// MaxWaiting limits the number of calls that wait for a connection. 0 means DefaultMaxWaiting.
	MaxWaiting int
	// AnswerTimeout ends a connection with ErrAnswerTimeout if its oldest request is not answered that long after it was sent or the request
	// before it was answered. 0 means DefaultAnswerTimeout.
	AnswerTimeout time.Duration
	// Idempotent, if not nil, reports whether a request may be carried out twice. Such a request is sent again, once and on a new connection, if
	// the peer closes or resets the connection before any byte of the answer and the connection has answered other requests before: usually
	// the peer has closed an idle connection at that moment. Nil means that no request is sent twice.
	Idempotent func(request []byte) bool

	prepared atomic.Bool // cfg was set

	mu       sync.Mutex // guards the fields that follow
	cfg      *config    // nil before the first request
	state    clientState
	dialCtx  context.Context // ends with Close
	stopDial context.CancelFunc
	conns    int           // connections that count towards MaxConns
	dialing  int           // those that are not open yet
	byLoad   []connList    // connections that accept a request, by the number of their requests, most recently used first
	waiting  callList      // calls that wait for a connection, the oldest first
	repeats  callList      // calls that wait for a new connection, since that of their first try has ended
	ending   int           // connections that take no new request until they end
	growAt   time.Duration // when a connection may be opened in the background again
	stats    Stats
}

// clientState is the state of a Client.
type clientState uint8

const (
	clientOpen   clientState = iota
	clientClosed             // no request begins; those that were sent are still answered
)

// String returns the state's name.
func (s clientState) String() string { return [...]string{"open", "closed"}[s] }

// Do sends request, as it is, and returns the answer: the message that the framing finds, in a slice of the caller. It waits for a
// connection if all have Pipeline requests, and for the answer. request belongs to the caller again when Do has returned.
//
// If ctx ends before the answer is complete, the request is abandoned. If it was sent, its connection gets no more requests until the
// answer has arrived, which is discarded, and is ended as soon as it has abandoned requests only.
//
// If a function of Dispatch that runs on a loop calls it, another goroutine runs the loop from then on, as with server.Reply.Blocking.
//
// Errors: ErrNoAnswer, with the reason, if the request was sent and its connection ended first, and with a second reason if Idempotent
// permitted to send it again and that failed; the other errors mean that it was not sent: the reasons of server.Server.DialContext if no
// connection can be opened; server.ErrFull if MaxWaiting calls wait; server.ErrFull and server.ErrServerFull from the write; ErrClosed;
// server.ErrServerClosed; server.ErrInvalid for fields. The cause of ctx leaves open whether the request was sent. event.ErrOnLoop in a
// callback of a loop. May block; not in a callback.
func (c *Client) Do(ctx context.Context, request []byte) (answer []byte, err error) {
	return c.AppendDo(ctx, nil, request)
}

// AppendDo is Do, and appends the answer to dst. After an error it returns dst. It does not allocate if dst has room. Until it has returned,
// dst must not be used. May block; not in a callback.
func (c *Client) AppendDo(ctx context.Context, dst, request []byte) ([]byte, error) {
	answer, err := c.do(ctx, dst, request)
	if err != nil {
		c.countError()
		return dst, fmt.Errorf("request to %s: %w", c.Address, err)
	}
	return answer, nil
}

func (c *Client) do(ctx context.Context, dst, request []byte) ([]byte, error) {
	if ctx == nil {
		return nil, fmt.Errorf("%w: context is nil", server.ErrInvalid)
	}
	if err := c.prepare(); err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if err := c.Server.Blocking(); err != nil {
		return nil, err
	}
	for first := error(nil); ; { // the error of a request that is sent again
		x := newCall(dst, request)
		x.repeat = first != nil
		if err := c.begin(x); err != nil {
			x.release()
			return nil, sentAgain(first, err)
		}
		if !c.await(ctx, x) {
			return nil, context.Cause(ctx) // x belongs to the connection
		}
		answer, err, repeatable := x.answer, x.err, x.repeatable
		x.release()
		if err == nil {
			return answer, nil
		}
		if !repeatable || c.cfg.idempotent == nil || !c.cfg.idempotent(request) {
			return nil, sentAgain(first, err)
		}
		first = err
	}
}

// begin sends x, or adds it to the calls that wait.
func (c *Client) begin(x *call) error {
	c.mu.Lock()
	err := c.sendOrWait(x)
	dials := err == nil && c.reserveDial(x)
	c.mu.Unlock()
	if dials {
		c.dial()
	}
	return err
}

// sendOrWait is begin without the connections that have to be opened. Under mu.
func (c *Client) sendOrWait(x *call) error {
	if c.state == clientClosed {
		return ErrClosed
	}
	x.state = callWaiting
	if x.repeat {
		c.stats.Repeats++
		c.repeats.push(x)
		if c.needsRoom() && c.byLoad[0].last != nil {
			c.byLoad[0].last.close()
		}
		return nil
	}
	for k := c.leastLoaded(); k != nil; k = c.leastLoaded() {
		if sent, err := k.send(x); sent || err != nil {
			return err
		}
	}
	if c.waiting.n >= c.cfg.maxWaiting {
		c.stats.Full++
		return fmt.Errorf("%w: %d calls wait for a connection", server.ErrFull, c.waiting.n)
	}
	c.waiting.push(x)
	return nil
}

// await waits until x has ended. It returns false if ctx has ended first, and x does not belong to the caller any more.
func (c *Client) await(ctx context.Context, x *call) bool {
	select {
	case <-x.done:
		return true
	case <-ctx.Done():
	}
	c.mu.Lock()
	abandoned := c.abandon(x)
	c.mu.Unlock()
	if !abandoned { // it has ended, or its answer is being copied
		<-x.done
	}
	return !abandoned
}

// abandon ends the wait of a call whose context has ended. It reports whether it did: otherwise the call has ended or ends at once. Under mu.
func (c *Client) abandon(x *call) bool {
	switch x.state {
	case callWaiting:
		x.list.remove(x)
		x.state = callEnded
	case callSent:
		x.conn.abandon(x)
	default:
		return false
	}
	c.stats.Abandoned++
	return true
}

// Close ends the Client. Calls that wait for a connection fail with ErrClosed, as later calls do; connections without a request are closed,
// and each of the others when its requests are answered. Close does not wait for that. It returns nil. Any goroutine.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == clientClosed {
		return nil
	}
	c.state = clientClosed
	if c.stopDial != nil {
		c.stopDial()
	}
	c.failWaiting(ErrClosed)
	if c.cfg != nil {
		for k := c.byLoad[0].first; k != nil; k = c.byLoad[0].first {
			k.close()
		}
	}
	return nil
}

package sse

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/httpd/internal/callback"
	"github.com/evmq/evmq/server"
)

// The defaults of the fields of a GroupConfig.
const (
	DefaultHistory      = 1000             // History, in events
	DefaultHistoryBytes = 1 << 20          // HistoryBytes
	DefaultKeepAlive    = 15 * time.Second // KeepAlive
)

// A GroupConfig is the configuration of a Group. The zero value of each field means its default.
type GroupConfig struct {
	// KeepAlive is the time without an event after which a comment is sent. 0 means DefaultKeepAlive; a negative value means that none is sent.
	KeepAlive time.Duration
	// Retry, if not 0, is sent to each client: the time after which it connects again. A negative value is ErrInvalid.
	Retry time.Duration
	// History limits the number of events that are kept for clients that connect again, and HistoryBytes their size as they are sent. 0
	// means DefaultHistory and DefaultHistoryBytes; a negative value means that none is kept.
	History, HistoryBytes int
	// Replay, if set, is called if the history does not have the event with lastID, which is what the client has sent. It returns the
	// events after that one in their order and with their IDs, for example from a store. It may return only the first of them: then it is
	// called again with the last of their IDs, until the history has that one, or Replay returns none. If it has returned 1 MB in all, the
	// stream ends after these events, and the client continues by its reconnect. After an error, ServeHTTP responds with 500. It is called on the
	// goroutine of the request, and may block.
	Replay func(r *http.Request, lastID string) ([]Event, error)
	// MaxPending limits the output of each stream that the kernel has not taken, in bytes: above it, one event may exceed it, and those of one
	// call of Replay. A client that connects again gets the events that it has missed in pieces, as it reads them. 0 means DefaultMaxPending; a
	// negative value means no limit but that of the connection.
	MaxPending int
	// KeepSlow keeps a stream that refuses an event with server.ErrFull, because as much output waits as MaxPending or the server permits: its
	// client misses the event. By default such a stream leaves, and is cut off with Abort, so that its client connects again and continues
	// where it was. In both cases the result of Broadcast reports it.
	KeepSlow bool
	// OnLeave, if not nil, is called once for each stream that leaves the Group, with the reason: context.Canceled after Close and Abort; a
	// BroadcastError, which matches server.ErrFull, if it was cut off; another error that matches server.ErrFull if its client has read the
	// history more slowly than events came; and otherwise the cause as in httpd.ParkConfig.OnGone. It is called on any goroutine, also on a
	// loop and during Broadcast, and must not block. It may call the methods of the Group.
	OnLeave func(s Stream, reason error)
	// Clock is the clock of KeepAlive. Nil means the system's.
	Clock event.Clock
}

// A Group is a set of streams that get the same events. It is an http.Handler, which adds the streams of its requests. A stream leaves it when it
// ends. It also leaves, and the Group closes it, when its client goes away or Shutdown begins. NewGroup makes a Group: the zero Group must not be
// used. It holds no goroutine. All methods may be called from any goroutine, also at the same time.
type Group struct {
	cfg     GroupConfig
	prefix  string // of the IDs that the Group chooses
	members *httpd.Group
	onGone  func(*httpd.Parked, error) // is gone

	mu        sync.Mutex            // guards what follows, and orders the events for the streams and the history
	behind    map[*httpd.Parked]int // streams that are not members yet, with the number of the next event; see follow
	number    uint64                // of IDs that the Group has chosen
	history   history
	timer     event.ClockTimer // of KeepAlive; nil before the first stream
	isTicking bool             // timer runs
	lastSent  time.Duration    // when the latest event or comment was sent, on the clock
}

// NewGroup makes a Group. A nil cfg means the defaults. Errors: ErrInvalid. Any goroutine.
func NewGroup(cfg *GroupConfig) (*Group, error) {
	g := new(Group)
	if cfg != nil {
		g.cfg = *cfg
	}
	c := &g.cfg
	if c.Retry < 0 {
		return nil, fmt.Errorf("%w: Retry is %v", ErrInvalid, c.Retry)
	}
	if c.KeepAlive == 0 {
		c.KeepAlive = DefaultKeepAlive
	}
	if c.History == 0 {
		c.History = DefaultHistory
	}
	if c.HistoryBytes == 0 {
		c.HistoryBytes = DefaultHistoryBytes
	}
	if c.HistoryBytes < 0 {
		c.History = -1
	}
	g.history.maxEvents, g.history.maxBytes = c.History, c.HistoryBytes
	g.prefix = strconv.FormatInt(time.Now().UnixNano(), 36) + "-"
	members := httpd.GroupConfig{KeepSlow: true, OnLeave: g.notifyLeft} // cut off here, without the lock
	g.members, g.onGone = httpd.NewGroup(&members), g.gone
	return g, nil
}

// Len returns the number of streams. Any goroutine.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.members.Len() + len(g.behind)
}

// Members returns the streams, in no order. The slice is the caller's. Any goroutine.
func (g *Group) Members() []Stream {
	g.mu.Lock()
	defer g.mu.Unlock()
	members := g.members.Members()
	streams := make([]Stream, 0, len(members)+len(g.behind))
	for _, p := range members {
		streams = append(streams, Stream{p})
	}
	for p := range g.behind {
		streams = append(streams, Stream{p})
	}
	return streams
}

// Close ends all streams in order, as Stream.Close does. The Group is empty afterwards, except for streams that were added meanwhile, and stays
// usable: clients that connect again get a stream. Any goroutine.
func (g *Group) Close() {
	defer g.members.Close() // also if OnLeave panics
	g.closeBehind()
}

// A BroadcastError says that a stream did not accept an event, and why.
type BroadcastError struct {
	Stream Stream
	Err    error // the reason: one of the errors of Stream.Send
}

// Error returns a text with the operation and the reason. Any goroutine.
func (e BroadcastError) Error() string { return fmt.Sprintf("sse: broadcast to a stream: %v", e.Err) }

// Unwrap returns the reason. Any goroutine.
func (e BroadcastError) Unwrap() error { return e.Err }

// Broadcast sends e to each stream, and keeps it in the history. It encodes e once, whatever the number of streams, and does not wait. refused has
// an error for each stream that has refused e, and is nil if there is none: server.ErrFull for a client that is slow, see GroupConfig.KeepSlow,
// and otherwise the errors of Stream.Send. err is ErrInvalid if e cannot be sent; then nothing was sent.
//
// done, if not nil, is called once for each of the other streams: with nil when e was given to the kernel, or with the reason why it was not. It
// must not block. Streams that still get earlier events, after a reconnect, get e from the history, without a call of done. All streams get the
// events of a Group in one order. Any goroutine.
func (g *Group) Broadcast(e Event, done func(s Stream, err error)) (refused []BroadcastError, err error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	var parkedDone func(*httpd.Parked, error)
	if done != nil {
		parkedDone = func(p *httpd.Parked, err error) { done(Stream{p}, err) }
	}
	g.mu.Lock()
	if e.ID == "" {
		g.number++
		e.ID = g.prefix + strconv.FormatUint(g.number, 10)
	}
	text, _ := e.Append(make([]byte, 0, len(e.Data)+len(e.ID)+len(e.Name)+32)) // it was checked
	g.history.add(entry{e.ID, text})
	g.lastSent = g.now()
	refusals := g.members.Broadcast(text, parkedDone)
	g.mu.Unlock()
	for _, r := range refusals {
		refused = append(refused, refusalOf(r))
	}
	g.cutOffSlow(refused)
	return refused, nil
}

// refusalOf returns the BroadcastError for one of package httpd.
func refusalOf(r httpd.BroadcastError) BroadcastError { return BroadcastError{Stream{r.Parked}, r.Err} }

// cutOffSlow ends the streams that have refused an event because they have no room, unless they are kept. A stream that has left meanwhile is
// not cut off.
func (g *Group) cutOffSlow(refused []BroadcastError) {
	callback.Each(refused, func(r BroadcastError) {
		if !g.cfg.KeepSlow && errors.Is(r.Err, server.ErrFull) && g.members.Remove(r.Stream.p) {
			r.Stream.p.Abort()
			g.notifyLeft(r.Stream.p, r)
		}
	})
}

// notifyLeft calls OnLeave. Without locks.
func (g *Group) notifyLeft(p *httpd.Parked, reason error) {
	if g.cfg.OnLeave == nil {
		return
	}
	if r := (httpd.BroadcastError{}); errors.As(reason, &r) {
		reason = refusalOf(r)
	}
	g.cfg.OnLeave(Stream{p}, reason)
}

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
	"github.com/evmq/evmq/server"
)

// The defaults of the fields of a Config.
const (
	DefaultHistory      = 1000             // History, in events
	DefaultHistoryBytes = 1 << 20          // HistoryBytes
	DefaultKeepAlive    = 15 * time.Second // KeepAlive
)

// A Config is the configuration of a Group. The zero value of each field means its default.
type Config struct {
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
	// stream ends after these events, and the client continues by its reconnect. After an error, ServeHTTP answers 500. It is called on the
	// goroutine of the request, and may block.
	Replay func(r *http.Request, lastID string) ([]Event, error)
	// MaxPending limits the output of each stream that the kernel has not taken, in bytes: above it, one event may exceed it, and those of one
	// call of Replay. A client that connects again gets the events that it has missed in pieces, as it reads them. 0 means DefaultMaxPending; a
	// negative value means no limit but that of the connection.
	MaxPending int
	// KeepSlow keeps a stream whose MaxPending is reached; its client misses the event. Otherwise the stream is cut off, and the client connects
	// again.
	KeepSlow bool
	// OnLeave, if set, is called once for each stream that has left the Group, with the reason; see httpd.GroupConfig.OnLeave. It is called
	// on any goroutine, and must not block.
	OnLeave func(s Stream, reason error)
	// Clock is the clock of KeepAlive. Nil means the system's.
	Clock event.Clock
}

// A Group is a set of streams that get the same events. It is an http.Handler, which adds the streams of its requests. It holds no
// goroutine. All methods may be called from any goroutine, also at the same time.
type Group struct {
	cfg     Config
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
func NewGroup(cfg *Config) (*Group, error) {
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
	members := httpd.GroupConfig{KeepSlow: true} // cut off here, without the lock
	if c.OnLeave != nil {
		members.OnLeave = func(p *httpd.Parked, reason error) { c.OnLeave(Stream{p}, reason) }
	}
	g.members, g.onGone = httpd.NewGroup(&members), g.gone
	return g, nil
}

// Len returns the number of streams. Any goroutine.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.members.Len() + len(g.behind)
}

// Send sends an event to all streams, and keeps it in the history. refused has an error for each stream that has refused the event, as that
// of httpd.Group.Broadcast; unless KeepSlow is set, streams whose MaxPending is reached are cut off. done, if not nil, is called once for
// each other stream: with nil when the kernel has the event, or with the reason why it does not get it. It must not block. Streams that
// still get earlier events, after a reconnect, get this one from the history, without a call of done. Errors: ErrInvalid; then nothing was
// sent. Any goroutine.
func (g *Group) Send(e Event, done func(p *httpd.Parked, err error)) (refused []httpd.BroadcastError, err error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	g.mu.Lock()
	if e.ID == "" {
		g.number++
		e.ID = g.prefix + strconv.FormatUint(g.number, 10)
	}
	text, _ := e.Append(make([]byte, 0, len(e.Data)+len(e.ID)+len(e.Name)+32)) // it was checked
	g.history.add(entry{e.ID, text})
	g.lastSent = g.now()
	refused = g.members.Broadcast(text, done)
	g.mu.Unlock()
	g.cutOff(refused)
	return refused, nil
}

// cutOff ends the streams that have no room.
func (g *Group) cutOff(refused []httpd.BroadcastError) {
	if g.cfg.KeepSlow {
		return
	}
	for _, r := range refused {
		if errors.Is(r.Err, server.ErrFull) && g.members.Remove(r.Parked) {
			r.Parked.Abort()
			if g.cfg.OnLeave != nil {
				g.cfg.OnLeave(Stream{r.Parked}, r.Err)
			}
		}
	}
}

// Close closes all streams. The Group stays usable: clients that connect again get a stream. Any goroutine.
func (g *Group) Close() {
	g.closeBehind()
	g.members.Complete(nil, nil)
}

package memcache

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/logqueue"
	"github.com/evmq/evmq/memcache/internal/watch"
	"github.com/evmq/evmq/memcache/store"
	"github.com/evmq/evmq/server"
)

// A Cache is the store and what the protocols need beside it. It serves any number of servers. All methods may be called from any
// goroutine.
type Cache struct {
	config Config
	store  *store.Store
	clock  Clock
	ticker *ticker // nil with a clock of the user's
	log    *slog.Logger
	logs   *logqueue.Handler // log's queue; nil if the user's logger has one
	began  int64

	verbosity atomic.Int32
	flushed   atomic.Int64  // second of the last flush_all, counted from when the cache began
	cutOff    atomic.Uint64 // connections that were closed since their memory was needed
	shortage  shortage
	kicked    atomic.Uint64  // connections that were idle for too long
	panics    atomic.Uint64  // that were survived
	asides    sync.WaitGroup // goroutines that do for a connection what takes its time
	dumping   atomic.Bool
	resizing  sync.Mutex
	closed    sync.Once
	detail    prefixes
	tuning    *tuning
	packets   packets
	hub       *watch.Hub    // of the watch command
	evictions *watch.Buffer // lines from the store, from any goroutine

	mu       sync.Mutex
	opened   uint64 // connections, before the last reset
	loops    map[*event.Loop]*worker
	servers  []*server.Server
	retired  counters     // of workers whose loop is gone
	base     sum          // what stats reset has taken away
	unshaken uint64       // TLS handshakes that had failed before the last reset
	logged   watch.Counts // as they were at the last stats reset
	resetAt  atomic.Pointer[store.Stats]
	classes  atomic.Pointer[[]store.Class] // as they were then
}

// New makes a cache. Errors: ErrConfig.
func New(c Config) (*Cache, error) {
	switch {
	case c.Memory < 0:
		return nil, fmt.Errorf("%w: Memory: %d", ErrConfig, c.Memory)
	case c.MaxItem < 0 || c.MaxItem > store.MaxMaxItem:
		return nil, fmt.Errorf("%w: MaxItem: %d", ErrConfig, c.MaxItem)
	case c.PerTurn < 0:
		return nil, fmt.Errorf("%w: PerTurn: %d", ErrConfig, c.PerTurn)
	case c.WorkerLog < 0 || c.WatcherLog < 0:
		return nil, fmt.Errorf("%w: WorkerLog, WatcherLog: %d, %d", ErrConfig, c.WorkerLog, c.WatcherLog)
	case c.Protocol > Binary:
		return nil, fmt.Errorf("%w: Protocol: %d", ErrConfig, c.Protocol)
	case c.SASL && c.Users == nil:
		return nil, fmt.Errorf("%w: SASL: no Users", ErrConfig)
	}
	c.Memory = orInt(c.Memory, DefaultMemory)
	c.MaxItem = orInt(c.MaxItem, DefaultMaxItem)
	c.PerTurn = orInt(c.PerTurn, DefaultPerTurn)
	c.WorkerLog = max(orInt(c.WorkerLog, DefaultWorkerLog), leastLog)
	c.WatcherLog = max(orInt(c.WatcherLog, DefaultWatcherLog), leastLog)
	cache := &Cache{config: c, clock: c.Clock, tuning: newTuning(c.Settings), loops: map[*event.Loop]*worker{}}
	cache.verbosity.Store(int32(c.Verbosity))
	if c.Clock == nil {
		cache.ticker = newTicker()
		cache.clock = cache.ticker
	}
	cache.hub = watch.NewHub(c.WorkerLog, c.WatcherLog)
	cache.evictions = cache.hub.NewBuffer()
	var err error
	cache.store, err = store.New(store.Config{
		Memory: c.Memory, MaxItem: min(c.MaxItem+itemSlack, store.MaxMaxItem), NoEvict: c.NoEvict, Now: cache.clock.Unix,
		Evicted: cache.logEviction,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: Memory, MaxItem: %w", ErrConfig, err)
	}
	cache.packets.worker.Cache = cache
	cache.packets.worker.events = cache.hub.NewBuffer()
	cache.shortage.progress = map[*server.Conn]progress{}
	cache.began = cache.clock.Unix()
	cache.packets.last.Store(cache.began)
	cache.queueLog(c.Logger)
	if cache.ticker != nil {
		go cache.ticker.run(tick, func(now time.Time) {
			cache.isolated("reap", func() { cache.store.Reap(reaped) })
			cache.isolated("shortage", func() { cache.lookAround(now) })
		})
	}
	return cache, nil
}

func orInt[T int | int64](n, fallback T) T {
	if n == 0 {
		return fallback
	}
	return n
}

// reaped is how many items are looked at, each tick, for whether their time is over.
const reaped = 20_000

// Close stops the clock, and waits for what is still done for a connection. Servers that use the cache are to be shut down before.
func (c *Cache) Close() error {
	c.closed.Do(func() {
		if c.ticker != nil {
			c.ticker.close()
		}
		c.hub.Close()
		c.asides.Wait()
		c.closeLog()
	})
	return nil
}

// Store is where the items are: for a program that looks at them, or puts some there, without a connection.
func (c *Cache) Store() *store.Store { return c.store }

// Limits of a server that Attach prepares.
const (
	attachInput     = 2 << 20   // a get may have as many keys as fit
	attachHighWater = 64 << 10  // of answers that are not read; the next request waits above it
	attachOutput    = 1 << 20   // beside a value
	attachBuffered  = 256 << 10 // for each connection, beside a value
	attachConns     = 20_000    // the most that are reckoned with
)

// Attach prepares a server, before it is started, and has stats count its connections. Of the server's fields it fills in those
// that are zero: Handler, OnPanic, MaxInput, HighWater, MaxOutput, and MaxBuffered. OnPanic makes a panic while a client is served the end
// of that client alone: it is logged, and counted as panics in stats evmq. MaxBuffered counts large values for each connection that
// is being sent one, though all are sent from the store's own memory, so it has to be far above what is really held: slow readers must not
// have others cut off.
func (c *Cache) Attach(s *server.Server) {
	if s.Handler == nil {
		s.Handler = c.Handler()
	}
	if s.OnPanic == nil {
		s.OnPanic = c.clientPanicked
	}
	s.MaxInput = orInt(s.MaxInput, attachInput)
	s.HighWater = orInt(s.HighWater, attachHighWater)
	s.MaxOutput = orInt(s.MaxOutput, max(s.HighWater, c.config.MaxItem+attachOutput))
	conns := min(orInt(s.MaxConns, attachConns), attachConns)
	s.MaxBuffered = orInt(s.MaxBuffered, int64(conns)*int64(c.config.MaxItem+attachBuffered))
	c.mu.Lock()
	c.servers = append(c.servers, s)
	c.mu.Unlock()
}

// SetVerbosity changes what is logged, as the verbosity command does.
func (c *Cache) SetVerbosity(level int) { c.verbosity.Store(int32(min(level, 2))) }

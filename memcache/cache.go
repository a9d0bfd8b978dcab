package memcache

import (
	"cmp"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/logqueue"
	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/memcache/internal/watch"
	"github.com/evmq/evmq/server"
)

// A Cache is a store of items with the state of the protocols. It serves any number of servers, or none. After Close its own clock no longer advances.
type Cache struct {
	config Config
	store  *store.Store
	clock  Clock
	ticker *ticker // nil with Config.Clock
	log    *slog.Logger
	logs   *logqueue.Handler // the queue of log; nil if Config.Logger has its own
	began  int64             // second of New, by clock

	verbosity   atomic.Int32
	flushed     atomic.Int64  // the last second whose items the latest flush_all removes, counted from began; 0 for none
	slowReaders atomic.Uint64 // connections closed because they did not read and the memory of their answers was needed
	slowWriters atomic.Uint64 // connections closed because they did not send the rest of a value and its memory was needed
	shortage    shortage
	idleClosed  atomic.Uint64  // connections that were idle for too long
	panics      atomic.Uint64  // panics recovered
	tasks       sync.WaitGroup // goroutines with a long task of a connection
	dumping     atomic.Bool    // an lru_crawler metadump runs; only one may
	resizing    sync.Mutex     // held during a change of the memory limit, so that there is one at a time
	closed      sync.Once
	detail      prefixes // requests by the prefix of their keys, for stats detail
	tuning      *tuning
	packets     packets
	hub         *watch.Hub                    // of the watch command
	events      *watch.Buffer                 // lines from the store and from calls of the program
	callCounts  counters                      // of calls of the program, which no worker serves
	resetAt     atomic.Pointer[store.Stats]   // the store's counts at the last reset
	classes     atomic.Pointer[[]store.Class] // at the last reset

	mu               sync.Mutex // guards the fields below
	opened           uint64     // connections, before the last reset
	loops            map[*event.Loop]*worker
	servers          []*server.Server // given to Attach
	retired          counters         // of workers whose loop has been closed
	base             sum              // counts at the last reset
	failedHandshakes uint64           // TLS handshakes that had failed before the last reset
	watchCounts      watch.Counts     // at the last reset
}

// New makes a cache. A nil cfg means the defaults. Without Config.Clock it starts a goroutine, so the cache must be closed. The error is ErrInvalid, with the
// field and its value. Any goroutine.
func New(cfg *Config) (*Cache, error) {
	c, err := cfg.resolved()
	if err != nil {
		return nil, err
	}
	cache := &Cache{config: c, clock: c.Clock, tuning: newTuning(c.Settings), loops: map[*event.Loop]*worker{}}
	cache.SetVerbosity(c.Verbosity)
	if c.Clock == nil {
		cache.ticker = newTicker()
		cache.clock = cache.ticker
	}
	cache.hub = watch.NewHub(c.WorkerLog, c.WatcherLog)
	cache.events = cache.hub.NewBuffer()
	cache.store, err = store.New(store.Config{
		Memory: c.Memory, MaxItem: min(c.MaxItem+itemSlack, store.MaxMaxItem), NoEvict: c.NoEvict, Now: cache.clock.Unix,
		Evicted: cache.logEviction,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: Config.Memory is %d, Config.MaxItem is %d: %w", ErrInvalid, c.Memory, c.MaxItem, err)
	}
	cache.packets.worker = cache.newWorker()
	cache.shortage.progress, cache.shortage.after = map[holds]progress{}, stalledAfter
	cache.began = cache.clock.Unix()
	cache.packets.last.Store(cache.began)
	cache.queueLog(c.Logger)
	if cache.ticker != nil {
		go cache.ticker.run(tick, func(now time.Time) {
			cache.isolated("reap", func() { cache.store.Reap(reapSteps) })
			cache.isolated("shortage", func() { cache.recordProgress(now) })
		})
	}
	return cache, nil
}

// reapSteps is the number of steps of the search for expired items at each tick.
const reapSteps = 20_000

// Close stops the cache's goroutines and ends the watch commands. It waits for the tasks of connections, and for at most a
// second until the log is written. Servers that use the cache must be shut down before. The error is nil.
// May block; not in a callback.
func (c *Cache) Close() error {
	c.closed.Do(func() {
		if c.ticker != nil {
			c.ticker.close()
		}
		c.hub.Close()
		c.tasks.Wait()
		c.closeLog()
	})
	return nil
}

// Limits of a server that Attach prepares.
const (
	attachInput     = 2 << 20   // a get may have as many keys as fit
	attachHighWater = 64 << 10  // of answers that are not read; the next request waits above it
	attachOutput    = 1 << 20   // in addition to a value
	attachBuffered  = 256 << 10 // for each connection, in addition to a value
	attachConns     = 20_000    // maximum number of connections that MaxBuffered takes into account
)

// Attach prepares a server, before it is started, and includes its connections in stats. No other goroutine may use s meanwhile. It sets those
// of the fields Handler, OnPanic, MaxInput, HighWater, MaxOutput and MaxBuffered that are zero. OnPanic limits the effect of a panic to the
// client whose request it was: its connection is closed, and the panic is logged and counted as panics in stats evmq. MaxBuffered counts a large
// value once for each connection that receives it, although all are sent from the store's memory. So it has to be far above the memory in use:
// otherwise slow readers would cause other connections to be closed. Any goroutine.
func (c *Cache) Attach(s *server.Server) {
	if s.Handler == nil {
		s.Handler = c.Handler()
	}
	if s.OnPanic == nil {
		s.OnPanic = c.clientPanicked
	}
	s.MaxInput = cmp.Or(s.MaxInput, attachInput)
	s.HighWater = cmp.Or(s.HighWater, attachHighWater)
	s.MaxOutput = cmp.Or(s.MaxOutput, max(s.HighWater, c.config.MaxItem+attachOutput))
	conns := min(cmp.Or(s.MaxConns, attachConns), attachConns)
	s.MaxBuffered = cmp.Or(s.MaxBuffered, int64(conns)*int64(c.config.MaxItem+attachBuffered))
	c.mu.Lock()
	c.servers = append(c.servers, s)
	c.mu.Unlock()
}

// SetVerbosity changes what is logged, as the verbosity command does: see Config.Verbosity. Any goroutine.
func (c *Cache) SetVerbosity(level int) { c.verbosity.Store(int32(min(level, 2))) }

package event

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/internal/poller"
)

// A Loop waits for descriptors, timers, signals and work from other goroutines, and calls the callbacks of what has happened, one
// after the other, on the goroutine that runs it. See the package comment for the order of a turn.
type Loop struct {
	// Fixed by NewLoop.
	clock        Clock
	lockedClock  Clock // the clock as it is read under mu
	foreignClock bool  // clock is a user's
	log          *slog.Logger
	driver       driver
	features     Features
	budget       Budget
	postLimit    int
	slow         time.Duration
	onPanic      func(v any, stack []byte)
	done         chan struct{} // closed when the loop is

	// mu guards the tables: everything below down to the next heading. It is held for table work only, never across a
	// callback or a system call that can wait. sigMu is taken before it; a user's lock is never taken under it.
	mu           sync.Mutex
	state        loopState
	owned        bool // by an Owner, which alone may run and end the loop
	asleep       bool // see wake.go, as for the next two
	wakeDue      bool
	sleepsUntil  time.Duration // while asleep, the deadline that ends the sleep; NoTimeout for none
	poller       poller.Poller
	active       activeQueue
	timers       timers
	seq          uint64 // order of deadlines
	expired      uint64 // seq when the turn looked for deadlines that have passed
	fds          rows
	signals      map[int]*signalSource
	users        map[*Event]struct{} // added with neither a condition nor a timeout
	posts        postQueue
	prepare      watcherList
	check        watcherList
	closers      watcherList
	runner       uint64 // the goroutine that runs the loop; 0 when none does
	mode         runMode
	idBuf        [64]byte // for goroutineID
	runs         uint64   // counts the Runs, so that a late cancellation finds its own
	running      *Event   // the event whose callback is running
	returned     chan struct{}
	delWaits     int           // number of DelWaits that wait for running
	level        int           // the priority that is dispatched; 0 also when none is
	moreUrgent   bool          // an event more urgent than level has become active
	timed        bool          // Budget.Time bounds the dispatch of level
	released     chan struct{} // closed when runner releases the loop; nil if no goroutine waits for that
	breaking     bool          // set by Break, until a Run consumes it
	exiting      bool          // set by Exit, until a Run consumes it
	pollAgain    bool          // set by Continue
	canceled     error         // the cause, when the Run's context has ended
	gotBreak     bool
	gotExit      bool
	refs         int // Ref less Unref
	added        int // events that are added, internal ones not counted
	maxAdded     int
	maxActive    int
	lateReports  map[uint64]struct{} // tags of reports for removed registrations
	mustRebuild  bool
	rebuildFails bool       // the last rebuild failed, and that was logged
	pendingLog   pendingLog // log records to be written without the lock
	stats        Stats

	interrupt atomic.Uint32 // an interruption; written under mu

	sigMu      sync.Mutex // orders registration with os/signal; taken before mu
	forwarders sync.WaitGroup

	// The state of a turn is used by the goroutine that runs the loop. It is not on that goroutine's stack, so that
	// another goroutine can finish the turn.
	now       atomic.Int64  // the turn's reading of the clock, for Now; written under mu
	turnEnd   atomic.Int64  // when Budget.Time ends the turn, where interrupt is interruptedInTime
	slept     bool          // whether the wait before this turn was a sleep; under mu
	yieldedAt time.Duration // when other goroutines could last run: after a sleep, or in yield
	meter     meter         // of the time awake; under mu
	created   time.Duration
	called    int // callbacks of users in this turn
	ready     []poller.Ready

	inLoopAssert inLoopAssert

	postEvent *Event
	exitEvent *Event
}

// loopState only increases. It changes under mu before Close calls the last posts, so that none is accepted after them.
type loopState uint8

const (
	loopOpen loopState = iota
	loopClosing
	loopClosed
)

func (s loopState) String() string { return [...]string{"open", "closing", "closed"}[s] }

// A turn takes readyBatch reports from the poller. A loop with priorities takes up to maxReadyBatch once there are many: the kernel
// has no priorities, and an urgent descriptor among the remaining reports would wait for later turns.
const (
	readyBatch    = 512
	maxReadyBatch = 8192
)

// NewLoop makes a loop as cfg says; nil means the defaults. A loop holds descriptors of the kernel until Close. It takes no goroutine.
//
// Errors: ErrInvalid; ErrUnsupported for a backend or driver that is not available here, or DriverPark together with BackendPoll;
// or the system's. Any goroutine.
func NewLoop(cfg *Config) (*Loop, error) {
	c, err := cfg.resolve()
	if err != nil {
		return nil, fmt.Errorf("new loop: %w", err)
	}
	l := &Loop{
		log: c.Logger, budget: c.Budget, postLimit: c.PostLimit, slow: c.SlowCallback, onPanic: c.PanicHandler,
		done: make(chan struct{}), ready: make([]poller.Ready, readyBatch), signals: map[int]*signalSource{}, users: map[*Event]struct{}{},
	}
	l.setClock(c.Clock)
	l.created = l.clock.Now()
	l.now.Store(int64(l.created))
	l.active.levels, l.timers = make([]activeLevel, c.Priorities), make(timers, c.Priorities)
	l.postEvent = l.newInternal(func(*Event, Flags) { l.runPostsInLoop() })
	l.exitEvent = l.newInternal(nil) // expire handles it
	if err := l.newDriver(c); err != nil {
		return nil, fmt.Errorf("new loop: %w", err)
	}
	return l, nil
}

func (l *Loop) newInternal(fn func(*Event, Flags)) *Event {
	e := new(Event)
	e.init(l, -1, 0, fn)
	e.state = stateInternal
	return e
}

// Close ends the loop. From then on other calls fail with ErrClosed. A Run in progress returns ErrClosed after the running callback, and
// Close waits for it. Then Close calls, on its own goroutine, the functions that Post has accepted, the functions of OnClose and the pending
// finalizers, and releases the loop's descriptors. Remaining events are removed without a call; their descriptors stay open.
//
// Each function that panics or calls runtime.Goexit keeps half a kilobyte of stack until Close returns: a hundred thousand of them, more
// than DefaultPostLimit, are safe. A second Close waits for the first and returns nil. On the loop Close does nothing and returns ErrOnLoop:
// call Break there, and Close after Run. If the loop has an Owner, Close returns ErrOwned. May block; not in a callback.
func (l *Loop) Close() error { return l.closeAs(anyone) }

// closeAs is Close on behalf of c.
func (l *Loop) closeAs(c caller) error {
	l.mu.Lock()
	if !l.permits(c) {
		l.mu.Unlock()
		return fmt.Errorf("close loop: %w", ErrOwned)
	}
	if l.runner != 0 && l.runner == goroutineID(l.idBuf[:]) {
		l.mu.Unlock()
		return fmt.Errorf("close loop: %w", ErrOnLoop)
	}
	if l.state != loopOpen {
		l.mu.Unlock()
		<-l.done
		return nil
	}
	l.state = loopClosing
	l.setInterrupt()
	for l.runner != 0 {
		left := l.awaitRelease()
		l.claim()
		l.unlock()
		<-left
		l.mu.Lock()
	}
	l.runner = goroutineID(l.idBuf[:])
	l.mu.Unlock()
	return l.release()
}

// release is the part of Close that runs on the loop's goroutine, which is the caller now. The loop's resources are released even if a
// user's function panics.
func (l *Loop) release() (err error) {
	defer close(l.done)
	defer l.leave()
	defer func() { err = l.tearDown() }()
	defer l.drainFinalizers()
	defer l.callClosers()
	l.drainPosts()
	return nil
}

// tearDown releases the loop's resources, even if a Clock or a logger panics.
func (l *Loop) tearDown() (err error) {
	defer func() {
		l.mu.Lock()
		l.state = loopClosed
		l.writeLog()
		l.mu.Unlock()
	}()
	defer func() {
		if err = errors.Join(err, l.poller.Close()); err != nil {
			err = fmt.Errorf("close loop: %w", err)
		}
	}()
	l.removeAll()
	l.reapSignals()
	l.forwarders.Wait()
	return l.driver.close()
}

// removeAll empties the tables, so that a closed loop keeps no memory of its users alive.
func (l *Loop) removeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, row := range l.fds.all() {
		for e := row.head; e != nil; {
			next := e.nextPeer
			e.nextPeer = nil
			e.state &^= stateAdded
			e = next
		}
	}
	for p := range l.timers {
		for h := &l.timers[p]; h.len > 0; {
			e := h.at(0).e
			h.remove(e)
			e.state &^= stateAdded
		}
	}
	for _, src := range l.signals {
		for _, e := range src.events {
			e.state &^= stateAdded
		}
		src.events = nil
	}
	for i := range l.active.levels {
		for e := l.active.levels[i].head; e != nil; e = l.active.levels[i].head {
			l.active.remove(e)
			e.what, e.state = 0, e.state&^stateAdded
		}
	}
	for e := range l.users {
		e.state &^= stateAdded
	}
	clear(l.users)
	for _, list := range []*watcherList{&l.prepare, &l.check, &l.closers} {
		list.removeAll()
	}
	l.fds, l.added = rows{}, 0
}

// Done returns a channel that is closed when Close has finished. Any goroutine.
func (l *Loop) Done() <-chan struct{} { return l.done }

// OnLoop reports whether it is called on the goroutine that runs the loop. It takes about a microsecond, and longer with a deep
// stack. Any goroutine.
func (l *Loop) OnLoop() bool {
	l.mu.Lock()
	runner := l.runner
	l.mu.Unlock()
	if runner == 0 {
		return false
	}
	// Without the lock, which would delay the loop: only the loop's goroutine itself could change the answer.
	buf := idBufs.Get().(*[64]byte)
	defer idBufs.Put(buf)
	return runner == goroutineID(buf[:])
}

var idBufs = sync.Pool{New: func() any { return new([64]byte) }}

// Ref keeps Run going as an added event does, until a call of Unref for each call of Ref. Any goroutine.
func (l *Loop) Ref() {
	l.mu.Lock()
	l.refs++
	l.mu.Unlock()
}

// Unref reverts one Ref. Without a Ref it does nothing. Any goroutine.
func (l *Loop) Unref() {
	l.mu.Lock()
	if l.refs > 0 {
		l.refs--
		l.claimIfEmpty()
	}
	l.unlock()
}

// Now returns the reading of the loop's clock at the beginning of the current turn, or of the last one if the loop does not run. It is
// the same for all callbacks of a turn. Timeouts count from Add, not from Now. It costs an atomic load. Any goroutine.
func (l *Loop) Now() time.Duration { return time.Duration(l.now.Load()) }

// Backend returns the name of the poller in use. Any goroutine.
func (l *Loop) Backend() Backend {
	l.mu.Lock()
	p := l.poller
	l.mu.Unlock()
	return Backend(p.Name())
}

// Driver returns the way in which the loop sleeps. Any goroutine.
func (l *Loop) Driver() Driver { return l.driver.name() }

// Features returns the features of the loop's backend. Any goroutine.
func (l *Loop) Features() Features { return l.features }

// Priorities returns the number of priorities. Any goroutine.
func (l *Loop) Priorities() int { return len(l.active.levels) }

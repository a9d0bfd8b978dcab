package event

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A Loop waits for descriptors, timers, signals and other goroutines, and calls the callbacks of what has happened, one
// after the other, on the goroutine that runs it. See the package comment for the order of a turn.
type Loop struct {
	// Fixed by NewLoop.
	clock        Clock
	lockedClock  Clock // the same, to be read under mu
	foreignClock bool  // it is a user's
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
	ringDue      bool
	sleepsUntil  time.Duration // while asleep, the deadline that ends the sleep; NoTimeout for none
	poller       Poller
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
	owner        uint64 // the goroutine that runs the loop; 0 when none does
	mode         runMode
	idBuf        [64]byte // for goroutineID
	runs         uint64   // counts the Runs, so that a late cancellation finds its own
	running      *Event   // whose callback was chosen and has not returned
	ran          chan struct{}
	delWaits     int           // DelWaits that wait for running
	level        int           // the priority that is dispatched; 0 also when none is
	overtaken    bool          // something more urgent than level has become active
	timed        bool          // Budget.Time bounds the dispatch of level
	left         chan struct{} // closed when owner leaves; made by the first that waits for that
	brk          bool          // Break, until a Run consumes it
	exit         bool          // Exit, until a Run consumes it
	again        bool          // Continue
	canceled     error         // of the Run's context
	gotBreak     bool
	gotExit      bool
	refs         int // Ref less Unref
	added        int // events that are added, internal ones not counted
	maxAdded     int
	maxActive    int
	strays       map[uint64]struct{} // tags of stray reports
	mustRebuild  bool
	rebuildFails bool  // and was logged
	notes        notes // log lines to be written outside the lock
	stats        Stats

	interrupt atomic.Uint32 // an interruption; written under mu

	sigMu      sync.Mutex // orders registration with os/signal; taken before mu
	forwarders sync.WaitGroup

	// A turn's state belongs to the goroutine that runs the loop. It is here and not on that goroutine's stack, so that
	// a turn can be finished by another goroutine than began it.
	now     atomic.Int64  // the turn's reading of the clock, for Now; written under mu
	turnEnd atomic.Int64  // when Budget.Time ends the turn, where interrupt is interruptedInTime
	slept   bool          // whether the wait before this turn was a sleep; under mu
	rested  time.Duration // when other goroutines could last run: after a sleep, or in yield
	meter   meter         // of the time awake; under mu
	born    time.Duration
	called  int // callbacks of users in this turn
	ready   []Ready

	postEvent *Event
	exitEvent *Event
}

// loopState only grows. It changes under mu before the last posts run, so that nothing is accepted after them.
type loopState uint8

const (
	loopOpen loopState = iota
	loopClosing
	loopClosed
)

func (s loopState) String() string { return [...]string{"open", "closing", "closed"}[s] }

// A turn takes readyBatch reports from the poller. With priorities it takes up to maxReadyBatch once there are many: the kernel knows
// no priorities, and an urgent descriptor among those that are left over would wait for later turns.
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
		done: make(chan struct{}), ready: make([]Ready, readyBatch), signals: map[int]*signalSource{}, users: map[*Event]struct{}{},
	}
	l.setClock(c.Clock)
	l.born = l.clock.Now()
	l.now.Store(int64(l.born))
	l.active.levels, l.timers = make([]activeLevel, c.Priorities), make(timers, c.Priorities)
	l.postEvent = l.newInternal(func(*Event, Flags) { l.runPosts() })
	l.exitEvent = l.newInternal(nil) // expire knows it
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

// Close ends the loop: it refuses everything new with ErrClosed, makes a Run that is under way return ErrClosed after the
// callback that runs and waits for that, calls the functions that Post had accepted and the finalizers that wait, on the
// calling goroutine, and releases the loop's descriptors. The events that are left are removed without a call; their
// descriptors stay open. A function that panics or calls runtime.Goexit keeps half a kilobyte of stack until Close returns: a
// hundred thousand of them, more than DefaultPostLimit, are safe. A second Close waits for the first and returns
// nil. On the loop it does nothing and returns ErrOnLoop: Break there, and Close after Run. On a loop that has an Owner it
// returns ErrOwned. May block; not in a callback.
func (l *Loop) Close() error { return l.closeAs(anyone) }

// closeAs is Close for c.
func (l *Loop) closeAs(c caller) error {
	l.mu.Lock()
	if !l.permits(c) {
		l.mu.Unlock()
		return fmt.Errorf("close loop: %w", ErrOwned)
	}
	if l.owner != 0 && l.owner == goroutineID(l.idBuf[:]) {
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
	for l.owner != 0 {
		left := l.leaving()
		l.claim()
		l.unlock()
		<-left
		l.mu.Lock()
	}
	l.owner = goroutineID(l.idBuf[:])
	l.mu.Unlock()
	return l.release()
}

// release is Close on the loop's own ground: this goroutine is the loop now, and nothing new is accepted. What users'
// functions may do to it, panic included, the loop's own things are released.
func (l *Loop) release() (err error) {
	defer close(l.done)
	defer l.leave()
	defer func() { err = l.tearDown() }()
	defer l.drainFinalizers()
	defer l.callClosers()
	l.drainPosts()
	return nil
}

// tearDown releases what the loop holds. A Clock or a logger that panics keeps nothing from its release.
func (l *Loop) tearDown() (err error) {
	defer func() {
		l.mu.Lock()
		l.state = loopClosed
		l.flushNotes()
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

// removeAll empties the tables, so that nothing of a user's is kept alive by a closed loop.
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

// Done is closed when Close has finished. Any goroutine.
func (l *Loop) Done() <-chan struct{} { return l.done }

// OnLoop reports whether it is called on the goroutine that runs the loop now. It takes about a microsecond: for slow
// paths. Any goroutine.
func (l *Loop) OnLoop() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owner != 0 && l.owner == goroutineID(l.idBuf[:])
}

// Ref keeps Run going as an added event would, and Unref takes one Ref back. They count. Any goroutine.
func (l *Loop) Ref() {
	l.mu.Lock()
	l.refs++
	l.mu.Unlock()
}

// Unref takes a Ref back. Without a Ref it does nothing. Any goroutine.
func (l *Loop) Unref() {
	l.mu.Lock()
	if l.refs > 0 {
		l.refs--
		l.claimIfEmpty()
	}
	l.unlock()
}

// Now is the loop's clock as the turn under way has read it, the same for all callbacks of the turn; when the loop does
// not run, as the last turn has. Timeouts do not count from it, but from the moment of Add. It costs an atomic load. Any
// goroutine.
func (l *Loop) Now() time.Duration { return time.Duration(l.now.Load()) }

// Backend is the name of the poller in use. Any goroutine.
func (l *Loop) Backend() Backend {
	l.mu.Lock()
	p := l.poller
	l.mu.Unlock()
	return Backend(p.Name())
}

// Driver is the way the loop sleeps. Any goroutine.
func (l *Loop) Driver() Driver { return l.driver.name() }

// Features says what the loop's backend can do. Any goroutine.
func (l *Loop) Features() Features { return l.features }

// Priorities is the number of priorities. Any goroutine.
func (l *Loop) Priorities() int { return len(l.active.levels) }

package event

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/internal/goid"
	"github.com/evmq/evmq/internal/poller"
)

// A Loop waits for descriptors, timers, signals and work from other goroutines, and calls the callbacks of what has happened, one
// after the other, on the goroutine that runs it. See the package comment for the order of a turn.
type Loop struct {
	// Methods whose names end in InLoop are called only by the goroutine that runs the loop. Race builds check this.

	// Fixed by NewLoop.
	clock        Clock
	clockUnderMu Clock // for readClock: clock, or an unlockingClock if clock is a user's
	userClock    bool  // clock is Config.Clock
	created      time.Duration
	log          *slog.Logger
	driver       driver
	features     Features
	budget       Budget
	postLimit    int
	slow         time.Duration
	onPanic      func(v any, stack []byte)
	done         chan struct{} // closed when the loop is

	// mu guards the fields from state to stats, and slept, sleptAt and meter. It is held for table work only, never during a callback or
	// a system call that can wait. Locks are taken in this order: sigMu, mu, a lock of a user's Clock or Poller. Their methods
	// must not call the loop.
	mu           sync.Mutex
	state        loopState
	owned        bool          // by an Owner, which alone may run and end the loop
	asleep       bool          // the loop sleeps and has not been woken: see wake.go
	waiting      bool          // the loop polls or sleeps: it calls no function of the program, except for methods of a user's Poller and Clock
	wakeDue      way           // if not none, the unlock that ends this critical section wakes the loop from a sleep of this kind
	woken        bool          // another goroutine has ended the last sleep; timers do not count
	sleepsUntil  time.Duration // while asleep, the deadline that ends the sleep; NoTimeout for none
	poller       poller.Poller
	active       activeQueue
	timers       timers
	seq          uint64 // number of deadlines set so far
	expired      uint64 // seq when this turn activated the events that are due; a larger number was set later
	descriptors  descriptors
	signals      map[int]*signalSource
	untimed      map[*Event]struct{} // the added events that are in no other table: they have no descriptor, signal or timeout
	posts        postQueue
	prepare      watcherList
	enders       watcherList // of OnTurnEnd
	turnOpen     bool        // a turn has begun, and the functions of OnTurnEnd were not all called
	left         int         // calls that the dispatch of this turn may still make
	suspend      int         // the argument of Runner.Suspend in the running callback, plus one; 0 if it was not called. Loop only
	suspended    bool        // the turn was suspended, and has events left
	check        watcherList
	closers      watcherList
	runner       uint64 // the goroutine that runs the loop; 0 when none does
	mode         runMode
	idBuf        [64]byte      // for goid.Of
	runs         uint64        // Runs begun so far; the number of the current one, by which cancel recognizes it
	running      *Event        // the event whose callback is running
	returned     chan struct{} // closed by finish after the callback of running; nil if no DelWait waits for it
	delWaits     int           // number of DelWaits that wait for running
	priority     int           // the priority that is dispatched; 0 also when none is
	moreUrgent   bool          // an event more urgent than priority has become active
	timed        bool          // Budget.Time bounds the dispatch of priority
	runnerLeft   chan struct{} // closed when the goroutine that runs the loop leaves it; nil if no Close waits for that
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

	interrupt atomic.Uint32 // notInterrupted, interruptedInTime or interruptedNow; written under mu

	sigMu      sync.Mutex // orders registration with os/signal; taken before mu
	forwarders sync.WaitGroup

	// The state of the current turn. Only the goroutine that runs the loop writes it. Now and Interrupted read the atomic
	// fields on any goroutine.
	now       atomic.Int64  // the clock as it was read after the last poll; written under mu
	turnEnd   atomic.Int64  // the time at which Budget.Time ends the dispatch, if interrupt is interruptedInTime
	slept     bool          // the wait before this turn was a sleep
	yieldedAt time.Duration // value of Now when other goroutines could last run: after a sleep that let them run, or in yieldInLoop
	meter     meter         // of the time awake
	called    int           // callbacks of users and functions of Post in this turn
	ready     []poller.Ready
	sleptAt   time.Duration // when the sleep began; NoTimeout if the time awake before it was not timed

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

// NewLoop makes a loop as cfg says; nil means the defaults. A loop holds descriptors of the kernel until Close. NewLoop starts
// no goroutine. Later the loop has one for each signal that an event waits for.
//
// Errors: ErrInvalid; ErrUnsupported for a backend or driver that is not available here, or DriverPark or DriverAdaptive together with BackendPoll;
// or the system's. Any goroutine.
func NewLoop(cfg *Config) (*Loop, error) {
	c, err := cfg.resolve()
	if err != nil {
		return nil, fmt.Errorf("new loop: %w", err)
	}
	l := &Loop{
		log: c.Logger, budget: c.Budget, postLimit: c.PostLimit, slow: c.SlowCallback, onPanic: c.PanicHandler,
		done: make(chan struct{}), ready: make([]poller.Ready, readyBatch), signals: map[int]*signalSource{}, untimed: map[*Event]struct{}{},
	}
	l.setClock(c.Clock)
	l.created = l.clock.Now()
	l.now.Store(int64(l.created))
	l.active.lists, l.timers = make([]activeList, c.Priorities), make(timers, c.Priorities)
	l.postEvent = l.newInternal(func(*Event, Flags) { l.runPostsInLoop() })
	l.exitEvent = l.newInternal(nil) // expireInLoop handles it
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

// Close ends the loop. From then on calls that add, change, activate, post, register or run return ErrClosed. A Run in progress
// returns ErrClosed after the running callback, and Close waits until it has returned. Then Close calls, on its own goroutine,
// the functions that Post has accepted, the functions of OnClose and the pending finalizers, and releases the loop's
// descriptors. Remaining events are removed without a call; their descriptors stay open.
//
// If one of these functions calls runtime.Goexit, or panics without a Config.PanicHandler, Close calls the others nevertheless,
// in a deferred call; the panic then passes through Close. Until Close returns, each such function takes about half a kilobyte
// of its goroutine's stack: there is room for a hundred thousand of them, more than DefaultPostLimit.
//
// A second Close waits for the first and returns nil. On the loop Close does nothing and returns ErrOnLoop: call Break there,
// and Close after Run. If the loop has an Owner, Close does nothing and returns ErrOwned. Other errors are those of closing the
// poller's descriptors; the loop is closed nevertheless. May block; not in a callback.
func (l *Loop) Close() error { return l.closeAs(anyone) }

// closeAs is Close on behalf of c.
func (l *Loop) closeAs(c caller) error {
	l.mu.Lock()
	if !l.permits(c) {
		l.mu.Unlock()
		return fmt.Errorf("close loop: %w", ErrOwned)
	}
	if l.runner != 0 && l.runner == goid.Of(l.idBuf[:]) {
		l.mu.Unlock()
		return fmt.Errorf("close loop: %w", ErrOnLoop)
	}
	if l.state != loopOpen {
		l.mu.Unlock()
		<-l.done
		return nil
	}
	l.state = loopClosing
	l.updateInterrupt()
	for l.runner != 0 {
		left := l.runnerLeftChan()
		l.wakeOnUnlock()
		l.unlock()
		<-left
		l.mu.Lock()
	}
	l.runner = goid.Of(l.idBuf[:])
	l.mu.Unlock()
	return l.finishClose()
}

// finishClose is the rest of Close, after the goroutine that ran the loop has left it: the calling goroutine runs the loop now.
// It releases the loop's resources even if a user's function panics.
//
//go:noinline
func (l *Loop) finishClose() (err error) {
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
	for _, desc := range l.descriptors.all() {
		for e := desc.head; e != nil; {
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
	for i := range l.active.lists {
		for e := l.active.lists[i].head; e != nil; e = l.active.lists[i].head {
			l.active.remove(e)
			e.what, e.state = 0, e.state&^stateAdded
		}
	}
	for e := range l.untimed {
		e.state &^= stateAdded
	}
	clear(l.untimed)
	for _, list := range []*watcherList{&l.prepare, &l.check, &l.enders, &l.closers} {
		list.removeAll()
	}
	l.descriptors, l.added = descriptors{}, 0
}

// Done returns a channel that is closed when Close has finished. Any goroutine.
func (l *Loop) Done() <-chan struct{} { return l.done }

// OnLoop reports whether it is called on the goroutine that runs the loop. It takes some 20 ns while the loop polls or sleeps, and a fraction of a
// microsecond on a goroutine that runs no loop. On one that does it takes a microsecond or more, and longer with a deep stack. Any goroutine.
func (l *Loop) OnLoop() bool {
	l.mu.Lock()
	runner := l.runner
	_, isUsers := l.poller.(*userPoller) // its Wait may ask
	if l.waiting && !isUsers {
		runner = 0
	}
	l.mu.Unlock()
	// Without the lock, which would delay the loop: only the loop's goroutine itself could change the answer.
	return runner != 0 && runFrames.OnStack() && runner == goid.Current()
}

// runFrames has the functions in which a goroutine runs a loop: each function that sets Loop.runner, or what calls it.
var runFrames = goid.FramesOf((*Loop).run, (*Loop).finishClose, (*Runner).Turn, (*Runner).Call)

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
		l.wakeOnUnlockIfEmpty()
	}
	l.unlock()
}

// Now returns the loop's clock as it was read after the last poll, or when Run began if the loop has not polled since; before
// the first Run, as NewLoop has read it. All callbacks of a turn get the same value; functions of OnPrepare get that of the
// turn before. Timeouts count from Add, not from Now. It costs an atomic load. Any goroutine.
func (l *Loop) Now() time.Duration { return time.Duration(l.now.Load()) }

// Clock returns the loop's clock: that of Config, or the system's. Any goroutine.
func (l *Loop) Clock() Clock { return l.clock }

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
func (l *Loop) Priorities() int { return len(l.active.lists) }

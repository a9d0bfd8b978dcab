package event

import (
	"cmp"
	"log/slog"
	"math"
	"os"
	"time"

	"github.com/evmq/evmq/internal/poller"
)

// NoTimeout makes Add wait for ever; for an event that is added already, it keeps the timeout as it is.
const NoTimeout = time.Duration(math.MaxInt64)

// Unlimited is a value for fields of Config that limit something: any negative value means no limit.
const Unlimited = -1

// Backend names the kernel's facility that a loop waits on.
type Backend string

const (
	// BackendDefault is the system's best: epoll on Linux, kqueue on the BSDs and macOS.
	BackendDefault Backend = ""
	BackendEpoll   Backend = "epoll" // epoll(7), on Linux
	BackendPoll    Backend = "poll"  // poll(2): any kind of file, on any Unix; a turn costs in proportion to what is added
	// BackendKqueue is experimental: written to the same contract, compiled and vetted, not yet run by the authors.
	BackendKqueue Backend = "kqueue"
)

// Driver names the way a loop sleeps.
type Driver string

const (
	// DriverDefault is DriverPark on Linux where it works, else DriverThread.
	DriverDefault Driver = ""
	// DriverPark parks the loop's goroutine in the Go runtime's own poller. Sleeping costs no thread, and another
	// goroutine wakes the loop without a system call.
	DriverPark Driver = "park"
	// DriverAdaptive parks the loop as DriverPark does, or blocks the loop's thread in the kernel, without locking the goroutine to it. It
	// is for programs with few loops that do most of the work: it takes less processor time while a loop is busy and only its descriptors
	// end its sleeps. The loop begins to block after 64 sleeps that no other goroutine has ended, if they lasted less than 0.2 ms on average
	// and a poll reported more than three descriptors on average. It parks again when another goroutine ends a sleep, when the average sleep
	// is above 0.4 ms, or when a poll reports fewer than two descriptors on average. It blocks only while the process has at most
	// GOMAXPROCS/2 open loops with this driver, and never with Config.Clock. While it blocks, it keeps a processor of the scheduler: timers,
	// and goroutines that its callbacks start, may be up to a millisecond late, and the network I/O of other goroutines up to 10 ms if
	// goroutines compute on all other processors. Stats.Parked and Stats.Blocked count the sleeps. It needs BackendEpoll. The figures are
	// measured: docs/decisions/0032-adaptive-driver.md.
	DriverAdaptive Driver = "adaptive"
	// DriverThread locks the loop's goroutine to its thread and blocks that in the kernel: for programs that need a
	// thread (cgo, GUI) and where a backend has no descriptor to park on. Run locks it and unlocks it.
	DriverThread Driver = "thread"

	driverAlternate Driver = "alternate" // DriverAdaptive that changes its way after each sleep; for tests
)

// Budget bounds what a turn dispatches before the loop polls its descriptors again. If an event is active, at least one
// callback runs in each turn; events that become active meanwhile wait for the next turn, and so do the active events beyond
// the budget.
type Budget struct {
	// Callbacks is the largest number of callbacks of events in a turn; each delivery of a signal counts. The same limit
	// applies separately to the timers that a turn makes active, and to the functions of Post that it calls. 0 means
	// DefaultCallbacks; a negative value means no limit.
	Callbacks int
	// Time ends a turn after the callback in which it is exceeded. 0 or a negative value means no limit. A limit costs one reading
	// of the clock for each callback and for each call of Interrupted. A msgqueue.Queue checks it after each message.
	Time time.Duration
	// MinPriority exempts more urgent events: the budget applies to this priority and to numerically higher ones. 0 means that it
	// applies to all. A value that is negative or not below Config.Priorities is an error.
	MinPriority int
}

// Defaults and limits of Config's fields.
const (
	DefaultCallbacks = 1024    // Budget.Callbacks
	DefaultPostLimit = 1 << 16 // Config.PostLimit
	MaxPriorities    = 255     // the largest Config.Priorities
)

// Config says how NewLoop makes a loop. The zero value of each field is its default. NewLoop copies what it needs and does not
// change the Config.
type Config struct {
	// Backend is the kernel facility that the loop waits on. BackendDefault leaves the choice to the environment (see IgnoreEnv) and
	// the system.
	Backend Backend
	// Driver is the way the loop sleeps. DriverDefault leaves the choice to the environment and the system. NewLoop fails if the
	// requested driver does not work.
	Driver Driver
	// OpenPoller opens the loop's poller in place of a backend; Backend must be BackendDefault then. It is called by NewLoop, and
	// again when the loop replaces a poller from which a registration cannot be removed, each time without a lock of the loop. Nil
	// means the built-in backends.
	OpenPoller func() (Poller, error)
	// Features must all be available, or NewLoop fails with ErrUnsupported. 0 requires none.
	Features Features
	// Clock is the loop's clock. Its methods may be called while locks are held; see Clock. Nil means the system's monotonic clock.
	Clock Clock
	// Priorities is the number of priorities: they are 0, the most urgent, to Priorities-1, and events begin at Priorities/2. 0 means
	// 1. A negative value, or more than MaxPriorities, is an error.
	Priorities int
	// Budget bounds a turn. The zero Budget is the default.
	Budget Budget
	// PostLimit is the largest number of functions given to Post that may wait. 0 means DefaultPostLimit; a negative value means no
	// limit.
	PostLimit int
	// Logger receives what cannot be returned to a caller: stale descriptors, slow callbacks, a driver that is not available.
	// It is called by NewLoop, on the loop, and by Close on the goroutine that calls Close, and must not block. A sleeping loop
	// wakes up to log. At most 64 records wait for a loop that does not run; then one record states how many more there were.
	// Nil means slog.Default().
	Logger *slog.Logger
	// SlowCallback is the time that a callback may take before it is logged by name. It also enables Stats.LongestCallback. It costs
	// two readings of the clock, about 50 ns, for each callback. 0 or a negative value disables it.
	SlowCallback time.Duration
	// PanicHandler is called on the loop with the value and the stack of a panic in a callback; then the loop continues. Nil means that
	// a panic passes through Run.
	PanicHandler func(v any, stack []byte)
	// IgnoreEnv makes the loop ignore the environment. Otherwise, where Backend and Driver leave a choice, EVMQ_BACKEND (epoll, poll,
	// kqueue), EVMQ_DRIVER (adaptive, park, thread, or alternate, which is adaptive and changes its way after each sleep) and EVMQ_WAKER (eventfd,
	// socketpair) make it. They are meant for tests.
	IgnoreEnv bool
}

// config is a Config whose defaults are resolved, with what the environment adds.
type config struct {
	Config
	waker poller.WakerKind
}

// resolve returns a copy of c in which each field has the value that the loop uses, or an error that names the invalid field.
func (c *Config) resolve() (*config, error) {
	r := &config{}
	if c != nil {
		r.Config = *c
	}
	if r.Priorities < 0 || r.Priorities > MaxPriorities {
		return nil, invalid("Priorities %d, want 0 to %d", r.Priorities, MaxPriorities)
	}
	r.Priorities = cmp.Or(r.Priorities, 1)
	if p := r.Budget.MinPriority; p < 0 || p >= r.Priorities {
		return nil, invalid("Budget.MinPriority %d of %d priorities", p, r.Priorities)
	}
	if r.OpenPoller != nil && r.Backend != BackendDefault {
		return nil, invalid("Backend %q together with OpenPoller", r.Backend)
	}
	r.Budget.Callbacks = limit(r.Budget.Callbacks, DefaultCallbacks)
	r.PostLimit = limit(r.PostLimit, DefaultPostLimit)
	if r.Clock == nil {
		r.Clock = systemClock{}
	}
	if r.Logger == nil {
		r.Logger = slog.Default()
	}
	r.fromEnv()
	return r, nil
}

// limit is the limit that a field with the value v stands for.
func limit(v, whenZero int) int {
	switch {
	case v < 0:
		return math.MaxInt
	case v == 0:
		return whenZero
	}
	return v
}

// fromEnv lets the environment decide what the fields leave open.
func (c *config) fromEnv() {
	if c.IgnoreEnv {
		return
	}
	if c.Backend == BackendDefault && c.OpenPoller == nil {
		c.Backend = Backend(os.Getenv("EVMQ_BACKEND"))
	}
	if c.Driver == DriverDefault {
		c.Driver = Driver(os.Getenv("EVMQ_DRIVER"))
		if c.OpenPoller != nil && (c.Driver == DriverAdaptive || c.Driver == driverAlternate) {
			c.Driver = DriverPark
		}
	}
	c.waker = poller.WakerKind(os.Getenv("EVMQ_WAKER"))
}

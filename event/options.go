package event

import (
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/evmq/evmq/internal/poller"
)

// NoTimeout makes Add wait for ever; for an event that is added already, it keeps the timeout as it is.
const NoTimeout = time.Duration(math.MaxInt64)

// Unlimited takes the limit away from an option that limits.
const Unlimited = math.MaxInt

// Backend names the kernel's facility that a loop waits on.
type Backend string

const (
	// BackendDefault is the system's best: epoll on Linux, kqueue on the BSDs and macOS.
	BackendDefault Backend = ""
	BackendEpoll   Backend = "epoll"
	BackendPoll    Backend = "poll" // poll(2): any kind of file, on any Unix; a turn costs in proportion to what is added
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
	// DriverThread locks the loop's goroutine to its thread and blocks that in the kernel: for programs that need a
	// thread (cgo, GUI) and where a backend has no descriptor to park on. Run locks it and unlocks it.
	DriverThread Driver = "thread"
)

// Budget bounds what a turn dispatches before the loop looks at its descriptors again. At least one callback runs in
// each turn, and a turn runs no callback that became active while it ran; what is left goes on next turn.
type Budget struct {
	// Callbacks is the largest number of callbacks in a turn, of timers that one makes active, and of functions given to Post that
	// one calls. Each delivery of a signal counts. 0 means DefaultCallbacks; Unlimited is allowed.
	Callbacks int
	// Time ends a turn after the callback in which it is exceeded. 0 means no limit. It costs a reading of the clock
	// for each callback, and for each Interrupted. A msgqueue.Queue honours it after each message.
	Time time.Duration
	// MinPriority exempts more urgent events: the budget holds for this priority and the numerically higher ones.
	MinPriority int
}

// Defaults of the options.
const (
	DefaultCallbacks = 1024    // Budget.Callbacks
	DefaultPostLimit = 1 << 16 // WithPostLimit
	MaxPriorities    = 255     // the most that WithPriorities takes
)

// Option changes what NewLoop makes. See the functions that return one.
type Option func(*config)

type config struct {
	backend    Backend
	driver     Driver
	waker      poller.WakerKind
	open       func() (Poller, error)
	clock      Clock
	priorities int
	budget     Budget
	postLimit  int
	require    Features
	logger     *slog.Logger
	slow       time.Duration
	onPanic    func(v any, stack []byte)
	ignoreEnv  bool
}

// WithBackend chooses the backend. BackendDefault leaves the choice to the environment and the system.
func WithBackend(b Backend) Option { return func(c *config) { c.backend = b } }

// WithDriver chooses the driver. DriverDefault leaves the choice to the environment and the system. Asked for by
// name, DriverPark that does not work is an error.
func WithDriver(d Driver) Option { return func(c *config) { c.driver = d } }

// WithPriorities makes n priorities, 0 (the most urgent) to n-1. 0 means 1; more than MaxPriorities is an error.
// Events begin at n/2.
func WithPriorities(n int) Option { return func(c *config) { c.priorities = n } }

// WithBudget bounds a turn.
func WithBudget(b Budget) Option { return func(c *config) { c.budget = b } }

// WithPostLimit bounds how many functions given to Post may wait. 0 means DefaultPostLimit; Unlimited is allowed.
func WithPostLimit(n int) Option { return func(c *config) { c.postLimit = n } }

// WithClock sets the loop's clock. Nil means the system's monotonic clock. Its Now is called with the loop's lock held; see Clock.
func WithClock(clock Clock) Option { return func(c *config) { c.clock = clock } }

// WithPoller makes open the source of the loop's poller, in place of a backend. It is called by NewLoop, and again
// when the loop rebuilds a set from which a registration cannot be removed; both times without a lock of the loop.
func WithPoller(open func() (Poller, error)) Option { return func(c *config) { c.open = open } }

// WithFeatures makes NewLoop fail with ErrUnsupported when the backend lacks one of f.
func WithFeatures(f Features) Option { return func(c *config) { c.require = f } }

// WithLogger sets where the loop reports what no caller can be told: stale descriptors, slow callbacks, a driver that
// fell back. Nil means slog.Default(). The logger is called on the loop and must not block. A loop that sleeps wakes to log. At
// most 64 lines wait for a loop that does not run; then it says how many more there were.
func WithLogger(logger *slog.Logger) Option { return func(c *config) { c.logger = logger } }

// WithSlowCallback makes the loop time each callback, name those that take longer than d to the logger, and keep the
// longest for Stats. It costs two readings of the clock, some 50 ns, for each callback. 0 means off.
func WithSlowCallback(d time.Duration) Option { return func(c *config) { c.slow = d } }

// WithPanicHandler makes the loop survive a callback's panic: fn is called on the loop with the value and the stack,
// and the loop goes on. Without it (or with nil) a panic passes through Run.
func WithPanicHandler(fn func(v any, stack []byte)) Option { return func(c *config) { c.onPanic = fn } }

// WithoutEnv makes the loop ignore the environment. Otherwise, where the options leave a choice, EVMQ_BACKEND
// (epoll, poll, kqueue), EVMQ_DRIVER (park, thread) and EVMQ_WAKER (eventfd, socketpair) make it. They are meant for
// tests.
func WithoutEnv() Option { return func(c *config) { c.ignoreEnv = true } }

// check validates the values and fills in the defaults.
func (c *config) check() error {
	switch {
	case c.priorities < 0 || c.priorities > MaxPriorities:
		return fmt.Errorf("%w: %d priorities (1 to %d)", ErrOption, c.priorities, MaxPriorities)
	case c.budget.Callbacks < 0:
		return fmt.Errorf("%w: budget of %d callbacks", ErrOption, c.budget.Callbacks)
	case c.budget.Time < 0:
		return fmt.Errorf("%w: budget of %v", ErrOption, c.budget.Time)
	case c.postLimit < 0:
		return fmt.Errorf("%w: post limit %d", ErrOption, c.postLimit)
	case c.slow < 0:
		return fmt.Errorf("%w: slow callback threshold %v", ErrOption, c.slow)
	case c.open != nil && c.backend != BackendDefault:
		return fmt.Errorf("%w: backend %q and a poller", ErrOption, c.backend)
	}
	c.priorities = or(c.priorities, 1)
	c.budget.Callbacks = or(c.budget.Callbacks, DefaultCallbacks)
	c.postLimit = or(c.postLimit, DefaultPostLimit)
	if c.budget.MinPriority < 0 || c.budget.MinPriority >= c.priorities {
		return fmt.Errorf("%w: budget from priority %d of %d", ErrPriority, c.budget.MinPriority, c.priorities)
	}
	if c.clock == nil {
		c.clock = systemClock{}
	}
	if c.logger == nil {
		c.logger = slog.Default()
	}
	return nil
}

func or(v, fallback int) int {
	if v == 0 {
		return fallback
	}
	return v
}

package event_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

func nothing(*event.Event, event.Flags) {}

// Impossible arguments are refused by the call that gets them. errors.Is tells the reason, and the text has the value.
func TestNewEventRefusesBadInput(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fd := idle(t)
	for _, c := range []struct {
		name  string
		fd    int
		flags event.Flags
		err   error
		says  string
	}{
		{"negative descriptor", -1, event.Read, event.ErrBadDescriptor, "-1"},
		{"very negative descriptor", math.MinInt, event.Write, event.ErrBadDescriptor, strconv.Itoa(math.MinInt)},
		{"descriptor beyond the kernel's int", beyond32(fd), event.Read, event.ErrBadDescriptor, strconv.Itoa(beyond32(fd))},
		{"descriptor without a condition", fd, 0, event.ErrBadDescriptor, strconv.Itoa(fd)},
		{"descriptor with Persist alone", fd, event.Persist, event.ErrBadDescriptor, "Persist"},
		{"negative number without a condition", -2, 0, event.ErrBadDescriptor, "-2"},
		{"Signal with Read", int(unix.SIGUSR1), event.Signal | event.Read, event.ErrInvalid, "Read|Signal"},
		{"Signal with Write", int(unix.SIGUSR1), event.Signal | event.Write, event.ErrInvalid, "Write|Signal"},
		{"Signal with Closed", int(unix.SIGUSR1), event.Signal | event.Closed, event.ErrInvalid, "Signal|Closed"},
		{"Signal with EdgeTriggered", int(unix.SIGUSR1), event.Signal | event.EdgeTriggered, event.ErrInvalid, "EdgeTriggered"},
		{"EdgeTriggered without a condition", -1, event.EdgeTriggered, event.ErrInvalid, "EdgeTriggered"},
		{"unknown flag", fd, event.Read | 0x40, event.ErrInvalid, "invalid"},
		{"flag beyond the last", fd, event.Read | 0x8000, event.ErrInvalid, "invalid"},
		{"signal 0", 0, event.Signal, event.ErrInvalid, "0"},
		{"signal -1", -1, event.Signal, event.ErrInvalid, "-1"},
		{"signal 65", 65, event.Signal, event.ErrInvalid, "65"},
		{"signal beyond the kernel's int", beyond32(int(unix.SIGUSR1)), event.Signal, event.ErrInvalid, strconv.Itoa(beyond32(int(unix.SIGUSR1)))},
		{"SIGKILL", int(unix.SIGKILL), event.Signal, event.ErrInvalid, "9"},
		{"SIGSTOP", int(unix.SIGSTOP), event.Signal, event.ErrInvalid, strconv.Itoa(int(unix.SIGSTOP))},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.fd > math.MaxInt32-2 && math.MaxInt == math.MaxInt32 && c.flags&event.Signal == 0 {
				t.Skip("an int holds no number beyond the kernel's int")
			}
			e, err := l.NewEvent(c.fd, c.flags, nothing)
			wantMessage(t, err, c.err, c.says)
			if e != nil {
				t.Error("an event was returned with the error")
			}
		})
	}
	testkit.WantEqual(t, "added", l.Stats().Added, 0)
}

func TestNewSignalRefusesWhatIsNoSignal(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	for _, sig := range []os.Signal{nil, otherSignal{}, os.Kill, unix.Signal(0), unix.Signal(-1), unix.Signal(100)} {
		_, err := l.NewSignal(sig, nothing)
		testkit.WantErr(t, err, event.ErrInvalid)
	}
	_, err := l.NewSignal(otherSignal{}, nothing)
	wantMessage(t, err, event.ErrInvalid, "smoke")
}

type otherSignal struct{}

func (otherSignal) String() string { return "smoke" }
func (otherSignal) Signal()        {}

// A descriptor that is not open is refused by Add, and nothing is left of the attempt.
func TestAddRefusesClosedDescriptors(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	n := privateDup(t, idle(t))
	testkit.Must(t, unix.Close(n))
	for _, fd := range []int{n, 1 << 20, math.MaxInt32} { // a wild number costs no memory in proportion
		e := silent(t, l, fd, event.Read|event.Persist)
		wantMessage(t, e.Add(time.Hour), event.ErrBadDescriptor, strconv.Itoa(fd))
		testkit.WantEqual(t, "pending", e.Pending(), 0)
		testkit.Must(t, e.Del())
	}
	testkit.WantEqual(t, "added", l.Stats().Added, 0)
	testkit.Run(t, l)
}

// A regular file is refused by a backend that cannot watch it, and always ready for one that can.
func TestRegularFileIsRefusedOrReady(t *testing.T) {
	for _, b := range event.Backends() {
		t.Run(string(b), func(t *testing.T) {
			l := testkit.NewLoop(t, &event.Config{IgnoreEnv: true, Backend: b})
			f, err := os.Create(filepath.Join(t.TempDir(), "file"))
			testkit.Must(t, err)
			defer f.Close()
			fd := fdOf(t, f)
			var got event.Flags
			e := eventFor(t, l, fd, event.Read|event.Write, func(_ *event.Event, what event.Flags) { got = what })
			if !l.Features().Has(event.FeatureAnyFile) {
				wantMessage(t, e.Add(event.NoTimeout), event.ErrNotPollable, strconv.Itoa(fd))
				testkit.WantEqual(t, "added", l.Stats().Added, 0)
				return
			}
			testkit.Must(t, e.Add(event.NoTimeout))
			testkit.Run(t, l)
			testkit.WantEqual(t, "told", got, event.Read|event.Write)
		})
	}
}

func TestNegativeTimeoutsAreRefused(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	const d = -3 * time.Second
	for name, e := range map[string]*event.Event{
		"timer":      silent(t, l, -1, 0),
		"descriptor": silent(t, l, readable(t), event.Read),
		"signal":     silent(t, l, int(unix.SIGUSR1), event.Signal),
	} {
		wantMessage(t, e.Add(d), event.ErrInvalid, "-3s")
		testkit.WantEqual(t, name+" is added", e.Added(), false)
		testkit.Must(t, e.Add(time.Hour))
		testkit.WantErr(t, e.Add(math.MinInt64), event.ErrInvalid)
		if left, ok := e.Remaining(); !ok || left <= 0 {
			t.Errorf("%s: the refusal has changed the timeout to %v, %v", name, left, ok)
		}
		testkit.Must(t, e.Del())
	}
	wantMessage(t, l.Exit(d), event.ErrInvalid, "-3s")
	_, err := l.Once(readable(t), event.Read, d, func(event.Flags) { t.Error("called") })
	wantMessage(t, err, event.ErrInvalid, "-3s")
	testkit.Run(t, l)
	testkit.WantEqual(t, "GotExit", l.GotExit(), false)
}

func TestOnceRefusesSignalsAndPersist(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fn := func(event.Flags) { t.Error("called") }
	for _, flags := range []event.Flags{event.Persist, event.Read | event.Persist, event.Signal, event.Signal | event.Read} {
		_, err := l.Once(idle(t), flags, 0, fn)
		wantMessage(t, err, event.ErrInvalid, flags.String())
	}
	_, err := l.Once(-1, event.Read, 0, fn)
	wantMessage(t, err, event.ErrBadDescriptor, "-1")
	testkit.Run(t, l)
}

func TestActivateRefusesWhatCannotHappen(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	e := silent(t, l, -1, 0)
	for _, flags := range []event.Flags{event.Persist, event.EdgeTriggered, event.Read | event.Persist, 0x40, 0x4000} {
		wantMessage(t, e.Activate(flags), event.ErrInvalid, flags.String())
	}
	testkit.WantEqual(t, "active", l.Stats().Active, 0)
}

func TestPrioritiesOutOfRangeAreRefused(t *testing.T) {
	for _, n := range []int{1, 3, event.MaxPriorities} {
		l := testkit.NewLoop(t, &event.Config{Priorities: n})
		e := silent(t, l, -1, 0)
		for _, p := range []int{-1, math.MinInt, n, n + 256, math.MaxInt} {
			wantMessage(t, e.SetPriority(p), event.ErrInvalid, strconv.Itoa(p), strconv.Itoa(n))
		}
		testkit.WantEqual(t, "priority", e.Priority(), n/2)
		testkit.Must(t, e.SetPriority(n-1))
		testkit.Must(t, e.SetPriority(0))
		testkit.Must(t, e.Activate(0))
		testkit.WantErr(t, e.SetPriority(n-1), event.ErrPending)
		testkit.Must(t, e.Del())
		testkit.Must(t, e.SetPriority(n-1))
	}
}

func TestMissingCallbacksAreRefused(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	e := silent(t, l, -1, 0)
	for name, call := range map[string]func() error{
		"NewEvent":  func() error { _, err := l.NewEvent(idle(t), event.Read, nil); return err },
		"NewTimer":  func() error { _, err := l.NewTimer(nil); return err },
		"NewTicker": func() error { _, err := l.NewTicker(nil); return err },
		"NewSignal": func() error { _, err := l.NewSignal(unix.SIGUSR1, nil); return err },
		"AfterFunc": func() error { _, err := l.AfterFunc(0, nil); return err },
		"Once":      func() error { _, err := l.Once(idle(t), event.Read, 0, nil); return err },
		"Post":      func() error { return l.Post(nil) },
		"OnPrepare": func() error { _, err := l.OnPrepare(nil); return err },
		"OnCheck":   func() error { _, err := l.OnCheck(nil); return err },
		"OnTurnEnd": func() error { _, err := l.OnTurnEnd(nil); return err },
		"OnClose":   func() error { _, err := l.OnClose(nil); return err },
		"Finalize":  func() error { return e.Finalize(nil) },
	} {
		t.Run(name, func(t *testing.T) { testkit.WantErr(t, call(), event.ErrInvalid) })
	}
	testkit.Must(t, e.Add(event.NoTimeout)) // it is not finalized
	testkit.Must(t, e.Del())
	testkit.Run(t, l)
}

// A backend without FeatureEdge returns an error for EdgeTriggered. One with it refuses to mix edge- and level-triggered events
// of a descriptor, in either order.
func TestEdgeTriggeredIsRefusedWhereItCannotHold(t *testing.T) {
	_, err := pollLoop(t).NewEvent(idle(t), event.Read|event.EdgeTriggered, nothing)
	wantMessage(t, err, event.ErrUnsupported, "EdgeTriggered")
	l := testkit.NewLoop(t, nil)
	if !l.Features().Has(event.FeatureEdge) {
		_, err := l.NewEvent(idle(t), event.Read|event.EdgeTriggered, nothing)
		testkit.WantErr(t, err, event.ErrUnsupported)
		return
	}
	fd := idle(t)
	edge := silent(t, l, fd, event.Read|event.EdgeTriggered)
	level := silent(t, l, fd, event.Read)
	for _, order := range [][2]*event.Event{{edge, level}, {level, edge}} {
		testkit.Must(t, order[0].Add(event.NoTimeout))
		wantMessage(t, order[1].Add(time.Hour), event.ErrInvalid, strconv.Itoa(fd), "EdgeTriggered")
		testkit.WantEqual(t, "pending", order[1].Pending(), 0)
		testkit.Must(t, order[0].Del())
		testkit.Must(t, order[1].Add(event.NoTimeout))
		testkit.Must(t, order[1].Del())
	}
}

// In every kind of callback, running and closing the loop and waiting for it are refused, and the loop continues.
func TestCallbacksOfAnyKindCannotRunOrCloseTheLoop(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	ctx := context.Background()
	other := silent(t, l, -1, 0)
	calls, reason := 0, event.ErrRunning
	check := func() {
		calls++
		for _, err := range []error{l.Run(ctx), l.RunForever(ctx), l.RunOnce(ctx), l.RunNonblock()} {
			testkit.WantErr(t, err, reason)
		}
		testkit.WantErr(t, l.Close(), event.ErrOnLoop)
		testkit.Must(t, other.DelWait(ctx))
	}
	user := userEvent(t, l, 0, check)
	testkit.Must(t, user.Activate(0))
	testkit.Must(t, l.Post(check))
	for _, on := range []func(func()) (*event.Watcher, error){l.OnPrepare, l.OnCheck, l.OnTurnEnd} {
		_, err := on(check)
		testkit.Must(t, err)
	}
	_, err := l.OnClose(check)
	testkit.Must(t, err)
	testkit.Must(t, silent(t, l, -1, 0).Finalize(func(*event.Event) { check() }))
	turns(t, l, 1)
	testkit.WantEqual(t, "calls", calls, 6)
	testkit.Must(t, l.Post(check)) // called by Close, as OnClose's and the finalizer
	testkit.Must(t, silent(t, l, -1, 0).Finalize(func(*event.Event) { check() }))
	reason = event.ErrClosed
	testkit.Must(t, l.Close())
	testkit.WantEqual(t, "calls", calls, 9)
}

// A second goroutine cannot run a loop that runs already.
func TestSecondGoroutineCannotRunTheLoop(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	stop := testkit.Background(t, l)
	started := make(chan struct{})
	testkit.Must(t, l.Post(func() { close(started) }))
	testkit.Await(t, started, "the run")
	for range 10 {
		testkit.WantErr(t, l.Run(context.Background()), event.ErrRunning)
		testkit.WantErr(t, l.RunNonblock(), event.ErrRunning)
	}
	stop()
	testkit.Must(t, l.RunNonblock())
}

package event_test

import (
	"bytes"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
)

// operations are the steps of a schedule. The corpus refers to them by number: new ones go to the end.
var operations = []struct {
	name string
	do   func(w *world, arg byte)
}{
	{"post", func(w *world, arg byte) { w.post("post", func() {}) }},
	{"yield", func(_ *world, arg byte) {
		for range arg % 16 {
			runtime.Gosched()
		}
	}},
	{"user event", func(w *world, arg byte) { w.user(arg, 0) }},
	{"persistent user event", func(w *world, arg byte) { w.user(arg, event.Persist) }},
	{"activate", func(w *world, arg byte) {
		w.users.with(arg, func(v *life) {
			w.allow("Activate", v.e.Activate(event.Timeout|event.Flags(arg)&event.Write))
		})
	}},
	{"timeout", func(w *world, arg byte) {
		w.users.with(arg, func(v *life) {
			w.allow("Add", v.e.Add(time.Duration(arg)*10*time.Microsecond))
		})
	}},
	{"remove timeout", func(w *world, arg byte) { w.users.with(arg, func(v *life) { _ = v.e.SetTimeout(event.NoTimeout) }) }},
	{"end user event", func(w *world, arg byte) { w.users.end(w, arg, arg>>2) }},
	{"watch", (*world).watch},
	{"end watch", func(w *world, arg byte) { w.slot(arg).end(w, arg>>2, arg>>4) }},
	{"send", func(w *world, arg byte) {
		s := w.slot(arg)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.file.readable.Store(true)
		_, _ = unix.Write(s.peer, []byte{arg}) // there may be no room
	}},
	{"end of file", func(w *world, arg byte) {
		s := w.slot(arg)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.file.readable.Store(true)
		_ = unix.Shutdown(s.peer, unix.SHUT_WR)
	}},
	{"activate descriptor", func(w *world, arg byte) {
		w.allow("ActivateFD", w.l.ActivateFD(w.slot(arg).fd, event.Timeout|event.Write))
	}},
	{"Del, close, reopen", func(w *world, arg byte) { w.replace(arg, false) }},
	{"close, reopen", func(w *world, arg byte) { w.closeBeforeDel(arg, false) }},
	{"close, reopen, with a duplicate", func(w *world, arg byte) { w.closeBeforeDel(arg, true) }},
	{"Break", func(w *world, _ byte) { w.l.Break() }},
	{"Exit", func(w *world, arg byte) { w.allow("Exit", w.l.Exit(time.Duration(arg)*time.Microsecond)) }},
	{"Continue", func(w *world, _ byte) { w.l.Continue() }},
	{"cancel", func(w *world, _ byte) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.cancel != nil {
			w.cancel()
		}
	}},
	{"Ref and Unref", func(w *world, _ byte) {
		w.l.Ref()
		runtime.Gosched()
		w.l.Unref()
	}},
	{"post that panics", func(w *world, _ byte) { w.post("post that panics", func() { panic(errSchedule) }) }},
	{"swap on the loop", func(w *world, arg byte) { w.post("swap on the loop", func() { w.replace(arg, true) }) }},
	{"watch on the loop", func(w *world, arg byte) { w.post("watch on the loop", func() { w.watch(arg) }) }},
	{"burst of posts", func(w *world, arg byte) {
		for range arg {
			w.post("post of a burst", func() {})
		}
	}},
	{"once", func(w *world, _ byte) {
		var calls atomic.Int32
		_, err := w.l.Once(-1, 0, 0, func(event.Flags) {
			if calls.Add(1) > 1 || w.closed.Load() {
				w.violate("Once called twice or after Close")
			}
		})
		w.allow("Once", err)
	}},
	{"set conditions", (*world).change},
	{"change on the loop", func(w *world, arg byte) { w.post("change on the loop", func() { w.change(arg) }) }},
}

func operationNumber(name string) byte {
	for i := range operations {
		if operations[i].name == name {
			return byte(i)
		}
	}
	panic("no operation " + name)
}

func (w *world) slot(n byte) *slot { return &w.slots[int(n)%len(w.slots)] }

// with calls do with one of the events, which stays in the set.
func (k *eventSet) with(n byte, do func(v *life)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.lives) > 0 {
		do(k.lives[int(n)%len(k.lives)])
	}
}

// user makes an event without a descriptor.
func (w *world) user(arg byte, flags event.Flags) {
	v, err := w.born(-1, flags, nil, arg)
	if !w.allow("NewEvent", err) {
		return
	}
	w.users.mu.Lock()
	defer w.users.mu.Unlock()
	timeout := event.NoTimeout
	if arg >= 128 {
		timeout = time.Duration(arg-128) * 10 * time.Microsecond
	}
	if w.allow("Add", v.e.Add(timeout)) {
		w.users.lives = append(w.users.lives, v)
	}
}

// watch adds an event for the file that has a number now.
func (w *world) watch(arg byte) {
	s := w.slot(arg)
	s.mu.Lock()
	defer s.mu.Unlock()
	flags := [...]event.Flags{event.Read, event.Write, event.Read | event.Persist, event.Read | event.Write}[arg>>2&3]
	if arg&16 != 0 && w.l.Features().Has(event.FeatureEdge) {
		flags |= event.EdgeTriggered
	}
	v, err := w.born(s.fd, flags, s.file, arg>>5)
	if !w.allow("NewEvent", err) {
		return
	}
	if !w.l.Features().Has(event.FeatureStale) {
		// It shares the registration of those whose file is gone, and what was reported of that just now.
		v.broken.Store(slices.ContainsFunc(s.lives, func(other *life) bool { return other.broken.Load() }))
	}
	if w.allow("Add", v.e.Add(event.NoTimeout), event.ErrInvalid) {
		s.lives = append(s.lives, v)
	}
}

// change changes what one of the events behind a number waits for.
func (w *world) change(arg byte) {
	s := w.slot(arg)
	s.with(arg>>4, func(v *life) {
		var refusals []error
		if v.broken.Load() {
			refusals = append(refusals, event.ErrStale)
		}
		conditions := [...]event.Flags{0, event.Read, event.Write, event.Read | event.Write}[arg>>2&3]
		if v.e.Flags()&event.Persist != 0 {
			conditions &^= event.Write // or the loop would never sleep
		}
		w.allow("SetConditions", v.e.SetConditions(conditions), refusals...)
	})
}

// replace closes a descriptor after Del of its events and gives its number to another file.
func (w *world) replace(arg byte, onLoop bool) {
	s := w.slot(arg)
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := s.take(0); v != nil; v = s.take(0) {
		v.del(onLoop)
	}
	w.swap(s, false)
}

// closeBeforeDel closes a descriptor before Del.
func (w *world) closeBeforeDel(arg byte, duplicate bool) {
	s := w.slot(arg)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.lives {
		v.broken.Store(true)
	}
	w.swap(s, duplicate)
}

// The first byte of a schedule.
const (
	headWorkers    = 3 // one more goroutine each, at most three in all
	headMode       = 3 << 2
	headCloseEarly = 1 << 4
	headBudget     = 1 << 5
	headIsolate    = 1 << 6
	headDeleteAll  = 1 << 7
)

// play carries out a schedule: its first byte says how, each pair after that is an operation, with the goroutine that
// does it in the two upper bits, and the operation's argument.
func play(t *testing.T, schedule []byte) {
	if len(schedule) < 3 || len(schedule) > 400 {
		return
	}
	before := leaktest.Descriptors()
	head := schedule[0]
	cfg := &event.Config{PostLimit: 300}
	if head&headBudget != 0 {
		cfg.Budget.Callbacks = 2
	}
	if head&headIsolate != 0 {
		cfg.PanicHandler = func(any, []byte) {}
	}
	w := &world{t: t, l: testkit.NewLoop(t, cfg)}
	w.open()
	var runner, workers sync.WaitGroup
	runner.Go(func() { w.run(head & headMode >> 2) })
	n := int(head&headWorkers)%3 + 1
	for worker := range n {
		workers.Go(func() {
			for step := schedule[1:]; len(step) >= 2; step = step[2:] {
				if int(step[0]>>6)%n == worker {
					operations[int(step[0]&63)%len(operations)].do(w, step[1])
				}
			}
		})
	}
	if head&headCloseEarly != 0 {
		testkit.Within(t, "Close", w.close)
	}
	testkit.Within(t, "the schedule", workers.Wait)
	if head&headCloseEarly == 0 {
		testkit.Within(t, "the last post", w.awaitPost)
		if head&headDeleteAll != 0 {
			testkit.Within(t, "the last Once", w.deleteAll)
		}
		testkit.Within(t, "Close", w.close)
	}
	testkit.Within(t, "the runner", runner.Wait)
	w.checkClosed()
	if opened := leaktest.Opened(before); len(opened) > 0 && w.trouble == nil {
		w.violate("left open: %q; before: %v", opened, before)
	}
	if w.trouble != nil {
		t.Fatal(w.trouble)
	}
}

// awaitPost returns when a post has been called: when no wake was lost.
func (w *world) awaitPost() {
	done := make(chan struct{})
	for w.l.Post(func() { close(done) }) != nil { // full for a moment
		runtime.Gosched()
	}
	<-done
}

// deleteAll deletes what is left, after which nothing is added but what Once has still to call.
func (w *world) deleteAll() {
	for _, k := range []*eventSet{&w.users, &w.slots[0].eventSet, &w.slots[1].eventSet, &w.slots[2].eventSet} {
		for k.endNow(w, 0, 0) != nil {
		}
	}
	for w.l.Stats().Added != 0 {
		runtime.Gosched()
	}
}

// step is one operation of a schedule that is written down here.
type step struct {
	name   string
	worker byte
	arg    byte
}

func schedule(head byte, steps ...step) []byte {
	var b bytes.Buffer
	b.WriteByte(head)
	for _, s := range steps {
		b.Write([]byte{operationNumber(s.name) | s.worker<<6, s.arg})
	}
	return b.Bytes()
}

// seeds are schedules of kinds that have caused failures in other event loops.
func seeds() [][]byte {
	all := [][]byte{
		schedule(0, step{"post", 0, 0}),
		schedule(headDeleteAll|3<<2, step{"user event", 0, 1}, step{"activate", 0, 0}, step{"yield", 0, 9}, step{"end user event", 0, 1}),
		schedule(2|headCloseEarly, step{"post", 0, 0}, step{"post", 1, 0}, step{"post", 2, 0}, step{"yield", 1, 3}, step{"post", 1, 0}),
		schedule(1|3<<2|headBudget, step{"burst of posts", 0, 200}, step{"burst of posts", 1, 200}, step{"Break", 1, 0}, step{"Exit", 0, 3}),
		schedule(headDeleteAll|1, step{"post that panics", 0, 0}, step{"post", 1, 0}, step{"post that panics", 1, 0}, step{"user event", 0, 130}),
		schedule(headCloseEarly, step{"post that panics", 0, 0}, step{"post", 0, 0}, step{"post that panics", 0, 0}, step{"post", 0, 0}),
		// The end of a file is reported all the time, also while its number is closed and reopened.
		schedule(1|3<<2|headDeleteAll, step{"watch", 0, 9}, step{"end of file", 0, 0}, step{"yield", 0, 5}, step{"close, reopen", 0, 0}, step{"watch", 0, 9}),
		schedule(1|headDeleteAll, step{"persistent user event", 0, 200}, step{"end user event", 1, 3}, step{"user event", 1, 140}, step{"cancel", 0, 0}),
	}
	// Arguments of watch for the first number, by manner.
	readPersist, write := map[byte]byte{0: 9, 16: 24}, map[byte]byte{0: 6, 16: 21}
	// Each way to close and reopen a number, between looks and on the loop, level- and edge-triggered, with data under way.
	for _, edge := range []byte{0, 16} {
		for _, swap := range []string{"Del, close, reopen", "close, reopen", "close, reopen, with a duplicate", "swap on the loop"} {
			for _, watch := range []string{"watch", "watch on the loop"} {
				all = append(all, schedule(1|3<<2|headDeleteAll,
					step{watch, 0, 8 | edge}, step{watch, 0, 4 | edge}, step{"send", 1, 0}, step{"yield", 0, 5},
					step{swap, 0, 0}, step{watch, 0, 8 | edge}, step{"yield", 1, 7}, step{swap, 1, 0}, step{watch, 1, edge},
					step{"send", 0, 0}, step{"end watch", 1, 4}, step{swap, 0, 0}, step{"post", 1, 0}))
			}
			// With events of one number that are paused and resumed meanwhile.
			for _, change := range []string{"set conditions", "change on the loop"} {
				all = append(all, schedule(1|3<<2|headDeleteAll,
					step{"watch", 0, readPersist[edge]}, step{"watch", 0, write[edge]}, step{change, 0, 0}, step{"send", 1, 0},
					step{change, 1, 18}, step{swap, 0, 0}, step{change, 1, 6}, step{"watch", 0, readPersist[edge]},
					step{"watch", 0, write[edge]}, step{change, 0, 12}, step{"yield", 1, 7}, step{change, 1, 0}, step{swap, 1, 0},
					step{change, 0, 21}, step{"send", 0, 0}, step{"end watch", 1, 0}, step{change, 0, 6}, step{swap, 0, 0}, step{"post", 1, 0}))
			}
		}
	}
	return all
}

// FuzzSchedule carries out schedules of everything that may be done to a loop, from up to three goroutines beside the
// one that runs it.
func FuzzSchedule(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(play)
}

// The seeds again, for several numbers of processors and more than once, since each time they fall out differently.
func TestSchedules(t *testing.T) {
	onProcessors(t, func(t *testing.T) {
		for range tenfold(2) {
			for _, s := range seeds() {
				play(t, s)
			}
		}
	}, 1, 2, 4)
}

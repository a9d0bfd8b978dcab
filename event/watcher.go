package event

import (
	"fmt"
	"math"
)

// A Watcher is a function that is called in every turn, or when the loop closes, until Stop. Adding and stopping one take constant
// time.
type Watcher struct {
	loop       *Loop
	list       *watcherList // the list that contains it; nil after Stop. Under loop.mu
	prev, next *Watcher     // in list
	n          uint64       // the order of adding
	fn         func()
}

// A watcherList holds watchers in the order in which they were added. The links are in the watchers. Under loop.mu.
type watcherList struct {
	first, last *Watcher
	round       *Watcher // the next to be called in the current round
	added       uint64   // watchers so far
}

func (list *watcherList) push(w *Watcher) {
	list.added++
	w.list, w.n, w.prev = list, list.added, list.last
	if list.last == nil {
		list.first = w
	} else {
		list.last.next = w
	}
	list.last = w
}

func (list *watcherList) remove(w *Watcher) {
	if list.round == w {
		list.round = w.next
	}
	if w.prev == nil {
		list.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		list.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.list, w.prev, w.next = nil, nil, nil
}

func (list *watcherList) removeAll() {
	for list.first != nil {
		list.remove(list.first)
	}
}

// OnPrepare has fn called in each turn before the loop polls its descriptors. Functions are called in the order of OnPrepare. The poll
// takes into account events that fn adds or activates; PollTimeout returns how long the loop would sleep. Errors: ErrClosed, ErrInvalid.
// Any goroutine.
func (l *Loop) OnPrepare(fn func()) (*Watcher, error) { return l.newWatcher(&l.prepare, fn) }

// OnCheck has fn called in each turn after the poll and before the callbacks, in the order of OnCheck. Errors: ErrClosed, ErrInvalid.
// Any goroutine.
func (l *Loop) OnCheck(fn func()) (*Watcher, error) { return l.newWatcher(&l.check, fn) }

// OnTurnEnd has fn called at the end of each turn, after its callbacks, in the order of OnTurnEnd. It is for work that the callbacks of a
// turn collect. Callbacks that fn activates are called in the next turn, and events that it adds apply to the next poll. If a callback cuts
// a turn short by a panic or runtime.Goexit, fn is called before the next turn; Close does not call it. Errors: ErrClosed, ErrInvalid. Any
// goroutine.
func (l *Loop) OnTurnEnd(fn func()) (*Watcher, error) { return l.newWatcher(&l.enders, fn) }

// OnClose has fn called once by Close, on the goroutine that calls Close, after the loop has stopped accepting work and the functions
// given to Post have been called. Packages built on the loop use it to end with the loop. A panic in fn passes through Close after
// the other functions have been called. Errors: ErrClosed, ErrInvalid. Any goroutine.
func (l *Loop) OnClose(fn func()) (*Watcher, error) { return l.newWatcher(&l.closers, fn) }

func (l *Loop) newWatcher(list *watcherList, fn func()) (*Watcher, error) {
	if fn == nil {
		return nil, fmt.Errorf("new watcher: %w", errNilFunc)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != loopOpen {
		return nil, fmt.Errorf("new watcher: %w", ErrClosed)
	}
	w := &Watcher{loop: l, fn: fn}
	list.push(w)
	return w, nil
}

// Stop ends the calls. It takes effect at once, also in the watcher's own call and between the calls of a turn. A second Stop does
// nothing. Any goroutine.
func (w *Watcher) Stop() {
	w.loop.mu.Lock()
	defer w.loop.mu.Unlock()
	if w.list != nil {
		w.list.remove(w)
	}
}

// callClosers calls the watchers of OnClose, each once. After a panic it still calls the others.
func (l *Loop) callClosers() {
	l.mu.Lock()
	l.closers.round = l.closers.first
	l.mu.Unlock()
	l.callRest()
}

func (l *Loop) callRest() {
	over := false
	defer func() {
		if !over {
			l.callRest()
		}
	}()
	l.mu.Lock()
	l.continueRound(&l.closers, math.MaxUint64) // a panic passes with l.mu unlocked
	over = true
	l.mu.Unlock()
}

// callWatchers calls the watchers of list. One that is added meanwhile waits for the next round. It is called with l.mu held and returns with
// l.mu held.
func (l *Loop) callWatchers(list *watcherList) {
	list.round = list.first
	l.continueRound(list, list.added)
}

// continueRound calls the remaining watchers of a round, except those added after the given number.
func (l *Loop) continueRound(list *watcherList, newest uint64) {
	for list.round != nil && list.round.n <= newest {
		w := list.round
		list.round = w.next
		l.mu.Unlock()
		l.call(w.fn)
		l.mu.Lock()
	}
	list.round = nil
}

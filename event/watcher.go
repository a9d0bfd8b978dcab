package event

import "fmt"

// A Watcher is called in every turn, or when the loop closes, until Stop.
type Watcher struct {
	loop *Loop
	list *[]*Watcher // where it stands; nil after Stop. Under loop.mu
	fn   func()
}

// OnPrepare has fn called before the loop looks at its descriptors, in the order of OnPrepare. What fn adds or activates
// counts for that look: PollTimeout says how long the loop would sleep. Errors: ErrClosed, ErrNilFunc. Any goroutine.
func (l *Loop) OnPrepare(fn func()) (*Watcher, error) { return l.newWatcher(&l.prepare, fn) }

// OnCheck has fn called after the look and before the callbacks, in the order of OnCheck. Errors: ErrClosed, ErrNilFunc.
// Any goroutine.
func (l *Loop) OnCheck(fn func()) (*Watcher, error) { return l.newWatcher(&l.check, fn) }

// OnClose has fn called once by Close, on the goroutine that closes, when nothing new is accepted any more and the functions
// that Post had accepted have been called: the place to end what was built on the loop. A panic in it passes through Close after
// the others have been called. Errors: ErrClosed, ErrNilFunc. Any goroutine.
func (l *Loop) OnClose(fn func()) (*Watcher, error) { return l.newWatcher(&l.closers, fn) }

func (l *Loop) newWatcher(list *[]*Watcher, fn func()) (*Watcher, error) {
	if fn == nil {
		return nil, fmt.Errorf("new watcher: %w", ErrNilFunc)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != loopOpen {
		return nil, fmt.Errorf("new watcher: %w", ErrClosed)
	}
	w := &Watcher{loop: l, list: list, fn: fn}
	*list = append((*list)[:len(*list):len(*list)], w) // a round under way keeps its own slice
	return w, nil
}

// Stop ends the calls; also in a watcher's own call, and for one whose turn is still to come in this round. A second
// Stop does nothing. Any goroutine.
func (w *Watcher) Stop() {
	w.loop.mu.Lock()
	defer w.loop.mu.Unlock()
	if w.list == nil {
		return
	}
	var rest []*Watcher
	for _, other := range *w.list {
		if other != w {
			rest = append(rest, other)
		}
	}
	*w.list, w.list = rest, nil
}

// callClosers calls the watchers of OnClose, each once; a panic does not keep the others from their call.
func (l *Loop) callClosers() {
	l.mu.Lock()
	round := l.closers
	l.mu.Unlock()
	l.callRest(round)
}

func (l *Loop) callRest(round []*Watcher) {
	defer func() {
		if len(round) > 0 {
			l.callRest(round)
		}
	}()
	for len(round) > 0 {
		w := round[0]
		round = round[1:]
		if !w.stopped() {
			l.call(w.fn)
		}
	}
}

func (w *Watcher) stopped() bool {
	w.loop.mu.Lock()
	defer w.loop.mu.Unlock()
	return w.list == nil
}

// watch makes a round. A watcher that is added in it waits for the next. It is called with l.mu held and returns so.
func (l *Loop) watch(round []*Watcher) {
	for _, w := range round {
		if w.list == nil {
			continue // stopped by one before it
		}
		l.mu.Unlock()
		l.call(w.fn)
		l.mu.Lock()
	}
}

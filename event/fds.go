package event

import (
	"cmp"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/poller"
)

// fdEntry is a descriptor's row: the events that wait for it and what the poller was told. The generation counts the
// registrations of this number; a report that carries an older one is about a file that has gone. The events of a row agree
// on EdgeTriggered, also those that wait for no condition now.
type fdEntry struct {
	head *Event
	gen  uint32
	want Flags // the union over the list; 0 when nothing is registered
}

// wants is what e adds to its row's want.
func (e *Event) wants() Flags {
	if e.conditions == 0 {
		return 0
	}
	return e.conditions | e.kind&EdgeTriggered
}

// union is what the events of the row want.
func (row *fdEntry) union() (want Flags) {
	for e := row.head; e != nil; e = e.nextPeer {
		want |= e.wants()
	}
	return want
}

// tag is the name that the poller knows a registration by: the descriptor and its generation.
func tag(fd int32, gen uint32) uint64 { return uint64(uint32(fd)) | uint64(gen)<<32 }

// entry returns fd's row, nil if it has none.
func (l *Loop) entry(fd int) *fdEntry { return l.fds.at(fd) }

// register enters e into its descriptor's row and makes the poller report what it wants.
func (l *Loop) register(e *Event) error {
	row := l.entry(int(e.fd))
	if row == nil || row.want == 0 {
		return l.registerFirst(e)
	}
	if l.features.Has(FeatureStale) {
		// An ADD that succeeds where EEXIST is due tells that the file behind the row was closed and its number
		// taken by another.
		err := l.poller.Add(int(e.fd), probe(e.wants()), tag(e.fd, row.gen+1))
		switch {
		case err == nil:
			l.endStale(e.fd, row)
			return l.registerFirst(e) // which finds what this ADD has registered
		case errors.Is(err, unix.EBADF):
			l.endStale(e.fd, row)
			return pollerError(err)
		case !errors.Is(err, unix.EEXIST):
			return pollerError(err)
		}
	}
	if err := row.admits(e); err != nil {
		return err
	}
	if err := l.tell(e.fd, row, row.want|e.wants(), e.wants()&EdgeTriggered != 0); err != nil {
		if gone(err) { // closed by another goroutine at this moment
			l.endStale(e.fd, row)
			l.dropStale(e.fd)
		}
		return pollerError(err)
	}
	e.nextPeer, row.head = row.head, e
	return nil
}

// admits refuses an event that differs from the others in EdgeTriggered.
func (row *fdEntry) admits(e *Event) error {
	if row.head != nil && (row.head.kind^e.kind)&EdgeTriggered != 0 {
		return fmt.Errorf("%w: EdgeTriggered beside level-triggered events", ErrFlags)
	}
	return nil
}

// registerFirst enters e into a row of which the poller knows nothing: there is no event, or all wait for no condition. The
// poller is asked before the table grows, also for an event that wants nothing, so that a wild number costs no memory.
func (l *Loop) registerFirst(e *Event) error {
	row := l.entry(int(e.fd))
	gen := uint32(1)
	if row != nil {
		gen = row.gen + 1
		if err := row.admits(e); err != nil {
			return err
		}
	}
	want := e.wants()
	if err := l.enroll(e.fd, want, gen); err != nil {
		if row != nil && gone(err) {
			l.endStale(e.fd, row)
		}
		return pollerError(err)
	}
	if row == nil {
		row = l.fds.make(int(e.fd))
	}
	e.nextPeer = row.head
	*row = fdEntry{head: e, gen: gen, want: want}
	return nil
}

// enroll registers fd, or finds out whether that could be done if nothing is wanted.
func (l *Loop) enroll(fd int32, want Flags, gen uint32) error {
	err := l.poller.Add(int(fd), probe(want), tag(fd, gen))
	if errors.Is(err, unix.EEXIST) {
		// The number was closed before Del while a duplicate kept the registration alive, and now the same file is back.
		err = l.poller.Modify(int(fd), probe(want), tag(fd, gen))
	}
	if err == nil && want == 0 {
		err = l.poller.Remove(int(fd))
	}
	return err
}

// probe is what the poller is asked to report to find out whether it can watch a descriptor of which nothing is wanted.
func probe(want Flags) PollerFlags { return pollerWant(cmp.Or(want, Read)) }

// pollerWant is want as the poller knows it: it reports errors and hang-ups whatever is wanted.
func pollerWant(want Flags) PollerFlags { return PollerFlags(want &^ HangUp) }

// tell makes the poller report want for a row from now on. With again it does so although that is what it reports already: an
// edge-triggered condition that holds is then reported once more, for an event that has not been told of it. On an error nothing
// has changed.
func (l *Loop) tell(fd int32, row *fdEntry, want Flags, again bool) (err error) {
	switch {
	case want == row.want && !again:
		return nil
	case row.want == 0:
		row.gen++
		err = l.enroll(fd, want, row.gen)
	case want == 0:
		err = l.poller.Remove(int(fd))
	default:
		err = l.poller.Modify(int(fd), pollerWant(want), tag(fd, row.gen))
	}
	if err == nil {
		row.want = want
	}
	return err
}

// reregister changes what an added event waits for.
func (l *Loop) reregister(e *Event, conditions Flags) error {
	row := l.entry(int(e.fd))
	before := e.conditions
	e.conditions = conditions
	err := l.tell(e.fd, row, row.union(), e.kind&EdgeTriggered != 0 && conditions&^before != 0)
	if err == nil {
		return nil
	}
	e.conditions = before
	if gone(err) {
		l.endStale(e.fd, row)
		l.dropStale(e.fd)
		return ErrStale
	}
	return pollerError(err)
}

// unregister takes e out of its row and makes the poller forget what no other event wants.
func (l *Loop) unregister(e *Event) error {
	row := l.entry(int(e.fd))
	for p := &row.head; *p != nil; {
		if *p == e {
			*p, e.nextPeer = e.nextPeer, nil
			break
		}
		p = &(*p).nextPeer
	}
	want := row.union()
	err := l.tell(e.fd, row, want, false)
	row.want = want
	if gone(err) {
		// MOD that meets ENOENT never turns into ADD: the number belongs to a stranger now.
		l.stats.Stale++
		if row.head == nil {
			l.noteStale(e.fd)
		}
		l.endStale(e.fd, row)
		return ErrStale
	}
	return pollerError(err)
}

// endStale ends all events of a row whose descriptor was closed before Del.
func (l *Loop) endStale(fd int32, row *fdEntry) {
	if row.head != nil {
		l.noteStale(fd)
	}
	for row.head != nil {
		e := row.head
		row.head, e.nextPeer = e.nextPeer, nil
		l.active.remove(e)
		l.timers.remove(e)
		e.what, e.calls, e.interval = 0, 0, NoTimeout
		e.state = e.state&^stateAdded | stateStale
		l.count(e, -1)
		l.stats.Stale++
	}
	row.want = 0
}

func (l *Loop) noteStale(fd int32) {
	l.note(func() {
		l.log.Warn("event: descriptor closed before Del; its events have ended", "fd", fd, "backend", l.poller.Name())
	})
}

// collect turns the poller's reports into active events. Everything is collected before any callback runs: what a
// callback deletes or closes cannot be reported afterwards.
func (l *Loop) collect(ready []Ready) {
	for _, r := range ready {
		fd := int32(uint32(r.Tag))
		row := l.entry(int(fd))
		if row == nil || row.want == 0 || row.gen != uint32(r.Tag>>32) {
			l.strayReport(r.Tag)
			continue
		}
		if r.What&poller.Invalid != 0 {
			l.endStale(fd, row)
			l.dropStale(fd)
			continue
		}
		what := Flags(r.What)
		for e := row.head; e != nil; e = e.nextPeer {
			if hit := l.hit(e, what); hit != 0 {
				l.activate(e, hit|e.kind&EdgeTriggered)
			}
		}
	}
}

// hungUp is how a poller reports that both directions have ended.
const hungUp = Read | Write | Closed

// hit returns what of a report concerns e. An error is readable and writable, and for who waits for neither, the peer's
// end: some event must hear of a level-triggered condition, or the loop would spin.
func (l *Loop) hit(e *Event, what Flags) Flags {
	hit := e.conditions & what
	if what&Flags(poller.Error) != 0 || what&hungUp == hungUp {
		hit |= e.conditions & HangUp
	}
	if hit == 0 && what&Flags(poller.Error) != 0 {
		hit = e.conditions & Closed
	}
	return hit
}

// dropStale makes a poller that keeps its own list forget a closed descriptor.
func (l *Loop) dropStale(fd int32) {
	if err := l.poller.Remove(int(fd)); err != nil && !gone(err) {
		l.note(func() { l.log.Warn("event: remove closed descriptor", "fd", fd, "err", err) })
	}
}

// gone reports whether the kernel's answer says that the file which was registered is no longer behind its number: the number
// is closed, or belongs to another file.
func gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EBADF) }

// pollerError adds the sentinel of this package to the kernel's answer.
func pollerError(err error) error {
	var sentinel error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBADF):
		sentinel = ErrBadDescriptor
	case errors.Is(err, unix.ENOENT):
		sentinel = ErrStale
	case errors.Is(err, unix.EPERM):
		sentinel = ErrNotPollable
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EINVAL):
		sentinel = ErrNested
	case errors.Is(err, unix.EOPNOTSUPP):
		sentinel = ErrUnsupported
	default:
		return err
	}
	return fmt.Errorf("%w (%w)", sentinel, err)
}

package event

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/poller"
)

// fdEntry is a descriptor's row: the events that wait for it and what the poller was told. The generation counts the
// registrations of this number; a report that carries an older one is about a file that has gone.
type fdEntry struct {
	head *Event
	gen  uint32
	want Flags // the union over the list; 0 when nothing is registered
}

// tag is the name that the poller knows a registration by: the descriptor and its generation.
func tag(fd int32, gen uint32) uint64 { return uint64(uint32(fd)) | uint64(gen)<<32 }

// entry returns fd's row, nil if it has none.
func (l *Loop) entry(fd int) *fdEntry {
	if fd >= 0 && fd < len(l.fds) {
		return &l.fds[fd]
	}
	return nil
}

// register enters e into its descriptor's row and makes the poller report what it wants.
func (l *Loop) register(e *Event) error {
	want := e.kind & (readiness | EdgeTriggered)
	row := l.entry(int(e.fd))
	if row == nil || row.head == nil {
		return l.registerFirst(e, want)
	}
	if l.features.Has(FeatureStale) {
		// An ADD that succeeds where EEXIST is due tells that the file behind the row was closed and its number
		// taken by another.
		err := l.poller.Add(int(e.fd), poller.Flags(want), tag(e.fd, row.gen+1))
		switch {
		case err == nil:
			l.endStale(e.fd, row)
			row.head, row.want, row.gen = e, want, row.gen+1
			return nil
		case errors.Is(err, unix.EBADF):
			l.endStale(e.fd, row)
			return pollerError(err)
		case !errors.Is(err, unix.EEXIST):
			return pollerError(err)
		}
	}
	if (row.want^want)&EdgeTriggered != 0 {
		return fmt.Errorf("%w: EdgeTriggered beside level-triggered events", ErrFlags)
	}
	if merged := row.want | want; merged != row.want {
		err := l.poller.Modify(int(e.fd), poller.Flags(merged), tag(e.fd, row.gen))
		if errors.Is(err, unix.ENOENT) { // closed by another goroutine at this moment
			l.endStale(e.fd, row)
			return ErrStale
		}
		if err != nil {
			return pollerError(err)
		}
		row.want = merged
	}
	e.nextPeer, row.head = row.head, e
	return nil
}

// registerFirst opens a row. The poller is asked before the table grows, so that a wild number costs no memory.
func (l *Loop) registerFirst(e *Event, want Flags) error {
	gen := uint32(1)
	if row := l.entry(int(e.fd)); row != nil {
		gen = row.gen + 1
	}
	err := l.poller.Add(int(e.fd), poller.Flags(want), tag(e.fd, gen))
	if errors.Is(err, unix.EEXIST) {
		// The number was closed before Del while a duplicate kept the registration alive, and now the same file is back.
		err = l.poller.Modify(int(e.fd), poller.Flags(want), tag(e.fd, gen))
	}
	if err != nil {
		return pollerError(err)
	}
	if need := int(e.fd) + 1 - len(l.fds); need > 0 {
		l.fds = append(l.fds, make([]fdEntry, need)...)
	}
	l.fds[e.fd] = fdEntry{head: e, gen: gen, want: want}
	return nil
}

// unregister takes e out of its row and makes the poller forget what nobody else wants.
func (l *Loop) unregister(e *Event) error {
	row := l.entry(int(e.fd))
	var rest Flags
	for p := &row.head; *p != nil; {
		if *p == e {
			*p, e.nextPeer = e.nextPeer, nil
			continue
		}
		rest |= (*p).kind & (readiness | EdgeTriggered)
		p = &(*p).nextPeer
	}
	if rest == row.want {
		return nil
	}
	row.want = rest
	var err error
	if rest == 0 {
		err = l.poller.Remove(int(e.fd))
	} else {
		err = l.poller.Modify(int(e.fd), poller.Flags(rest), tag(e.fd, row.gen))
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EBADF) {
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
		if row == nil || row.head == nil || row.gen != uint32(r.Tag>>32) {
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

// hit returns what of a report concerns e. An error is readable and writable, and for who waits for neither, the peer's
// end: some event must hear of a level-triggered condition, or the loop would spin.
func (l *Loop) hit(e *Event, what Flags) Flags {
	hit := e.kind & what & readiness
	if hit == 0 && what&Flags(poller.Error) != 0 {
		hit = e.kind & Closed
	}
	return hit
}

// dropStale makes a poller that keeps its own list forget a closed descriptor.
func (l *Loop) dropStale(fd int32) {
	if err := l.poller.Remove(int(fd)); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EBADF) {
		l.note(func() { l.log.Warn("event: remove closed descriptor", "fd", fd, "err", err) })
	}
}

// pollerError adds the sentinel of this package to the kernel's answer.
func pollerError(err error) error {
	var sentinel error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EBADF):
		sentinel = ErrBadDescriptor
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

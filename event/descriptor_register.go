package event

import (
	"cmp"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/poller"
)

// A descriptor has the state that the loop stores for a file descriptor: its events, and the conditions that are registered with the poller. The
// generation counts the registrations of the number; a report with an older generation is about an earlier registration. The events of a
// descriptor agree on EdgeTriggered, including those that wait for no condition at present.
type descriptor struct {
	head *Event // of the list of its events
	gen  uint32 // the generation
	want Flags  // the union over the list; 0 when nothing is registered
}

// wants returns the conditions that e contributes to its descriptor.
func (e *Event) wants() Flags {
	if e.conditions == 0 {
		return 0
	}
	return e.conditions | e.kind&EdgeTriggered
}

// union returns the conditions of all events of the descriptor.
func (desc *descriptor) union() (want Flags) {
	for e := desc.head; e != nil; e = e.nextPeer {
		want |= e.wants()
	}
	return want
}

// tag returns the tag of a registration: the descriptor and its generation.
func tag(fd int32, gen uint32) uint64 { return uint64(uint32(fd)) | uint64(gen)<<32 }

// descriptor returns the descriptor fd, nil if no event was added for it.
func (l *Loop) descriptor(fd int) *descriptor { return l.descriptors.at(fd) }

// register adds e to its descriptor and registers its conditions with the poller.
func (l *Loop) register(e *Event) error {
	desc := l.descriptor(int(e.fd))
	if desc == nil || desc.want == 0 {
		return l.registerFirst(e)
	}
	if l.features.Has(FeatureStale) {
		// If ADD succeeds where EEXIST is expected, the descriptor's file was closed and another file has taken its
		// number.
		err := l.poller.Add(int(e.fd), probe(e.wants()), tag(e.fd, desc.gen+1))
		switch {
		case err == nil:
			l.endStale(e.fd, desc)
			return l.registerFirst(e) // which handles the registration that this ADD has made
		case errors.Is(err, unix.EBADF):
			l.endStale(e.fd, desc)
			return pollerError(err)
		case !errors.Is(err, unix.EEXIST):
			return pollerError(err)
		}
	}
	if err := desc.admits(e); err != nil {
		return err
	}
	if err := l.setWant(e.fd, desc, desc.want|e.wants(), e.wants()&EdgeTriggered != 0); err != nil {
		if gone(err) { // closed by another goroutine at this moment
			l.endStale(e.fd, desc)
			l.dropStale(e.fd)
		}
		return pollerError(err)
	}
	e.nextPeer, desc.head = desc.head, e
	return nil
}

// admits returns an error for an event that differs from the others in EdgeTriggered.
func (desc *descriptor) admits(e *Event) error {
	if desc.head != nil && (desc.head.kind^e.kind)&EdgeTriggered != 0 {
		return invalid("EdgeTriggered differs from the other events of the descriptor")
	}
	return nil
}

// registerFirst adds e to a descriptor that is not registered with the poller: it has no event, or all its events wait for no condition. The
// poller checks the descriptor before the table grows, also for an event without conditions, so that an invalid number takes no memory.
func (l *Loop) registerFirst(e *Event) error {
	desc := l.descriptor(int(e.fd))
	gen := uint32(1)
	if desc != nil {
		gen = desc.gen + 1
		if err := desc.admits(e); err != nil {
			return err
		}
	}
	want := e.wants()
	if err := l.probeAdd(e.fd, want, gen); err != nil {
		if desc != nil && gone(err) {
			l.endStale(e.fd, desc)
		}
		return pollerError(err)
	}
	if desc == nil {
		desc = l.descriptors.make(int(e.fd))
	}
	e.nextPeer = desc.head
	*desc = descriptor{head: e, gen: gen, want: want}
	return nil
}

// probeAdd registers fd for want. If want is 0, it only checks that fd could be registered.
func (l *Loop) probeAdd(fd int32, want Flags, gen uint32) error {
	err := l.poller.Add(int(fd), probe(want), tag(fd, gen))
	if errors.Is(err, unix.EEXIST) {
		// The descriptor was closed before Del while a duplicate kept the registration, and the same file has the number again.
		err = l.poller.Modify(int(fd), probe(want), tag(fd, gen))
	}
	if err == nil && want == 0 {
		err = l.poller.Remove(int(fd))
	}
	return err
}

// probe returns the conditions to register: the poller does not accept an empty set.
func probe(want Flags) poller.Flags { return pollerWant(cmp.Or(want, Read)) }

// pollerWant returns want as the poller knows it: it reports errors and hang-ups whatever is registered.
func pollerWant(want Flags) poller.Flags { return poller.Flags(want &^ HangUp) }

// setWant registers want for a descriptor with the poller. With again it does so even if want is registered already: an edge-triggered
// condition that holds is then reported again, for an event that has not received it. After an error nothing has changed.
func (l *Loop) setWant(fd int32, desc *descriptor, want Flags, again bool) (err error) {
	switch {
	case want == desc.want && !again:
		return nil
	case desc.want == 0:
		desc.gen++
		err = l.probeAdd(fd, want, desc.gen)
	case want == 0:
		err = l.poller.Remove(int(fd))
	default:
		err = l.poller.Modify(int(fd), pollerWant(want), tag(fd, desc.gen))
	}
	if err == nil {
		desc.want = want
	}
	return err
}

// reregister changes what an added event waits for.
func (l *Loop) reregister(e *Event, conditions Flags) error {
	desc := l.descriptor(int(e.fd))
	before := e.conditions
	e.conditions = conditions
	err := l.setWant(e.fd, desc, desc.union(), e.kind&EdgeTriggered != 0 && conditions&^before != 0)
	if err == nil {
		return nil
	}
	e.conditions = before
	if gone(err) {
		l.endStale(e.fd, desc)
		l.dropStale(e.fd)
		return ErrStale
	}
	return pollerError(err)
}

// unregister removes e from its descriptor and removes from the poller the conditions that no other event of the descriptor waits for.
func (l *Loop) unregister(e *Event) error {
	desc := l.descriptor(int(e.fd))
	for p := &desc.head; *p != nil; {
		if *p == e {
			*p, e.nextPeer = e.nextPeer, nil
			break
		}
		p = &(*p).nextPeer
	}
	want := desc.union()
	err := l.setWant(e.fd, desc, want, false)
	desc.want = want
	if gone(err) {
		// After ENOENT from MOD there is no ADD: another file may have the number.
		l.stats.Stale++
		if desc.head == nil {
			l.noteStale(e.fd)
		}
		l.endStale(e.fd, desc)
		return ErrStale
	}
	return pollerError(err)
}

// endStale ends all events of a descriptor that was closed before Del.
func (l *Loop) endStale(fd int32, desc *descriptor) {
	if desc.head != nil {
		l.noteStale(fd)
	}
	for desc.head != nil {
		e := desc.head
		desc.head, e.nextPeer = e.nextPeer, nil
		l.active.remove(e)
		l.timers.remove(e)
		e.what, e.calls, e.interval = 0, 0, NoTimeout
		e.state = e.state&^stateAdded | stateStale
		l.count(e, -1)
		l.stats.Stale++
	}
	desc.want = 0
}

func (l *Loop) noteStale(fd int32) {
	l.logLater(func() {
		l.log.Warn("event: descriptor closed before Del; its events have ended", "fd", fd, "backend", l.poller.Name())
	})
}

// collectInLoop activates the events of the poller's reports. All reports are collected before any callback runs, so an event that a
// callback deletes is not called for them.
func (l *Loop) collectInLoop(ready []poller.Ready) {
	l.assertInLoop()
	for _, r := range ready {
		fd := int32(uint32(r.Tag))
		desc := l.descriptor(int(fd))
		if desc == nil || desc.want == 0 || desc.gen != uint32(r.Tag>>32) {
			l.lateReport(r.Tag)
			continue
		}
		if r.What&poller.Invalid != 0 {
			l.endStale(fd, desc)
			l.dropStale(fd)
			continue
		}
		what := Flags(r.What)
		for e := desc.head; e != nil; e = e.nextPeer {
			if hit := l.hit(e, what); hit != 0 {
				l.activate(e, hit|e.kind&EdgeTriggered)
			}
		}
	}
}

// hungUp is the report of a poller that both directions have ended.
const hungUp = Read | Write | Closed

// hit returns the conditions of a report that e waits for. An error counts as Read and Write. It counts as Closed for an event that
// waits for neither: a level-triggered condition must reach some event, or the loop would spin.
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

// dropStale removes a closed descriptor from a poller that keeps its own list.
func (l *Loop) dropStale(fd int32) {
	if err := l.poller.Remove(int(fd)); err != nil && !gone(err) {
		l.logLater(func() { l.log.Warn("event: remove closed descriptor", "fd", fd, "err", err) })
	}
}

// gone reports whether err says that the registered file no longer has its number: the number is closed or belongs to another
// file.
func gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EBADF) }

// pollerError wraps a system error in the matching error of this package.
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

package event

import (
	"errors"
	"time"
)

// strayReport meets a report for a registration that the loop has ended. Most are harmless: the descriptor was
// removed between the poller's look and the loop's. One that comes a second time comes from a registration that DEL
// cannot reach, kept alive by a duplicate of the closed descriptor; only a new set gets rid of it.
func (l *Loop) strayReport(tag uint64) {
	l.stats.Stray++
	if l.strays == nil {
		l.strays = map[uint64]struct{}{}
	}
	if _, again := l.strays[tag]; again || len(l.strays) == maxStrays {
		l.mustRebuild = true // which also forgets the strays
	}
	l.strays[tag] = struct{}{}
}

// maxStrays bounds what is remembered. A rebuild that was needless, once in so many harmless strays, does no harm either.
const maxStrays = 1024

// tryRebuild goes on with the old set while there is no descriptor for a new one. The stray registration then makes every
// look return at once; a short nap, when there is nothing else to do, keeps that from becoming a spin.
func (l *Loop) tryRebuild() {
	err := l.rebuild()
	if err == nil {
		l.rebuildFails = false
		return
	}
	if !l.rebuildFails {
		l.rebuildFails = true
		l.note(func() {
			l.log.Error("event: cannot get rid of a closed descriptor's registration; trying again", "err", err)
		})
	}
	if l.called == 0 {
		l.mu.Unlock()
		time.Sleep(rebuildNap)
		l.mu.Lock()
	}
}

const rebuildNap = time.Millisecond

// rebuild replaces the poller by a new one that knows only the rows. A row whose descriptor the old set does not know
// any more is stale: registering its number again would watch a stranger. It is called with l.mu held and returns so; a poller is
// opened and closed without it.
func (l *Loop) rebuild() error {
	l.mu.Unlock()
	next, err := l.driver.open()
	l.mu.Lock()
	if err != nil {
		return err
	}
	old := l.poller
	if err := l.replacePoller(next); err != nil {
		return errors.Join(err, l.closePoller(next))
	}
	if err := l.closePoller(old); err != nil {
		l.note(func() { l.log.Error("event: close replaced poller", "err", err) })
	}
	return nil
}

// replacePoller makes next the poller, or fails with the old one still in its place. Under l.mu.
func (l *Loop) replacePoller(next Poller) error {
	if err := l.moveRows(next); err != nil {
		return err
	}
	if err := l.driver.adopt(next); err != nil {
		return err
	}
	l.poller = next
	l.stats.Rebuilds++
	l.mustRebuild, l.strays = false, nil
	return nil
}

// closePoller closes p, of which the tables know no more, without l.mu, and locks it again.
func (l *Loop) closePoller(p Poller) error {
	l.mu.Unlock()
	err := p.Close()
	l.mu.Lock()
	return err
}

func (l *Loop) moveRows(next Poller) error {
	for fd, row := range l.fds.all() {
		if row.want == 0 {
			continue
		}
		name := tag(int32(fd), row.gen)
		err := l.poller.Modify(fd, pollerWant(row.want), name)
		if err == nil {
			err = next.Add(fd, pollerWant(row.want), name)
		}
		if gone(err) {
			l.endStale(int32(fd), row)
		} else if err != nil {
			return pollerError(err)
		}
	}
	return nil
}

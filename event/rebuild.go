package event

import (
	"errors"
	"time"

	"github.com/evmq/evmq/internal/poller"
)

// lateReport handles a report for a registration that the loop has removed. Most are harmless: the descriptor was
// removed between the poll and the processing of its result. If one is repeated, DEL cannot remove the registration, because a
// duplicate of the closed descriptor keeps it; only a new epoll set is without it.
func (l *Loop) lateReport(tag uint64) {
	l.stats.LateReports++
	if l.lateReports == nil {
		l.lateReports = map[uint64]struct{}{}
	}
	if _, again := l.lateReports[tag]; again || len(l.lateReports) == maxLateReports {
		l.mustRebuild = true // which also clears lateReports
	}
	l.lateReports[tag] = struct{}{}
}

// maxLateReports bounds lateReports. An unnecessary rebuild once in so many harmless reports does no damage.
const maxLateReports = 1024

// tryRebuildInLoop replaces the poller, and keeps the old one if that fails, for example without a free descriptor. The remaining
// registration then makes every poll return at once; a short sleep in turns without callbacks prevents a spin.
func (l *Loop) tryRebuildInLoop() {
	l.assertInLoop()
	err := l.rebuild()
	if err == nil {
		l.rebuildFails = false
		return
	}
	if !l.rebuildFails {
		l.rebuildFails = true
		l.logLater(func() {
			l.log.Error("event: cannot remove a closed descriptor's registration; trying again", "err", err)
		})
	}
	if l.called == 0 {
		l.mu.Unlock()
		time.Sleep(rebuildPause)
		l.mu.Lock()
	}
}

const rebuildPause = time.Millisecond

// rebuild replaces the poller by a new one with the registrations of the descriptors. A descriptor that is not registered with the old
// poller any more is stale: registering its number again would watch another file. It is called with l.mu held and returns with l.mu
// held; pollers are opened and closed without it.
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
		l.logLater(func() { l.log.Error("event: close replaced poller", "err", err) })
	}
	return nil
}

// replacePoller makes next the poller. After an error the old one is still the poller. Under l.mu.
func (l *Loop) replacePoller(next poller.Poller) error {
	if err := l.moveDescriptors(next); err != nil {
		return err
	}
	if err := l.driver.adopt(next); err != nil {
		return err
	}
	l.poller = next
	l.stats.Rebuilds++
	l.mustRebuild, l.lateReports = false, nil
	return nil
}

// closePoller closes p, which the loop no longer uses. It unlocks l.mu meanwhile.
func (l *Loop) closePoller(p poller.Poller) error {
	l.mu.Unlock()
	err := p.Close()
	l.mu.Lock()
	return err
}

func (l *Loop) moveDescriptors(next poller.Poller) error {
	for fd, desc := range l.descriptors.all() {
		if desc.want == 0 {
			continue
		}
		name := tag(int32(fd), desc.gen)
		err := l.poller.Modify(fd, pollerWant(desc.want), name)
		if err == nil {
			err = next.Add(fd, pollerWant(desc.want), name)
		}
		if gone(err) {
			l.endStale(int32(fd), desc)
		} else if err != nil {
			return pollerError(err)
		}
	}
	return nil
}

package memcache

import (
	"sync/atomic"
	"time"
)

// ticker is the real clock. A goroutine reads the system's every tick, so that asking costs a load.
type ticker struct {
	now  atomic.Int64
	stop chan struct{}
	done chan struct{}
}

func newTicker() *ticker {
	t := &ticker{stop: make(chan struct{}), done: make(chan struct{})}
	t.now.Store(time.Now().Unix())
	return t
}

// Unix implements Clock. A system clock that is set back stops it until that has caught up.
func (t *ticker) Unix() int64 { return t.now.Load() }

func (t *ticker) run(every time.Duration, each func(now time.Time)) {
	defer close(t.done)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-t.stop:
			return
		case now := <-tick.C:
			t.now.Store(max(t.now.Load(), now.Unix()))
			each(now)
		}
	}
}

func (t *ticker) close() {
	close(t.stop)
	<-t.done
}

const (
	// relative is the longest time that an exptime counts from now; what is above is a date. 30 days, as memcached has it.
	relative = 60 * 60 * 24 * 30
	// gone is an expiry that has always passed.
	gone = 1
)

// expiry is the second from which an item with a client's exptime is gone, 0 for never.
func expiry(exptime, now int64) int64 {
	switch {
	case exptime == 0:
		return 0
	case exptime < 0:
		return gone
	case exptime > relative:
		return exptime // a date that has passed is gone at once
	}
	return now + exptime
}

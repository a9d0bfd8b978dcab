package memcache

import (
	"sync/atomic"
	"time"
)

// ticker is a Clock with the system's time. A goroutine reads the time at each tick, so Unix is only an atomic load.
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

// Unix implements Clock. If the system clock is set back, the result stays the same until the system clock has reached it again.
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
	// relative is the largest exptime that is relative to the present; larger ones are dates. It is 30 days, as in memcached.
	relative = 60 * 60 * 24 * 30
	// gone is an expiry time that has always passed.
	gone = 1
)

// expiry returns the second from which an item with a client's exptime is gone, 0 for never.
func expiry(exptime, now int64) int64 {
	switch {
	case exptime == 0:
		return 0
	case exptime < 0:
		return gone
	case exptime > relative:
		return exptime // possibly one that has passed
	}
	return now + exptime
}

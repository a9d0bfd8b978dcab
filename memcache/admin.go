package memcache

import (
	"runtime/debug"
	"strings"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/server"
)

// textTouch serves touch.
func (w *worker) textTouch() {
	if w.touch(w.req.Key, expiry(int64(w.req.Exptime), w.clock.Unix())) {
		w.unlessQuiet("TOUCHED")
	} else {
		w.unlessQuiet("NOT_FOUND")
	}
}

// touch gives an item another expiry.
func (x *executor) touch(key []byte, expires int64) bool {
	e := x.look(key)
	defer e.Unlock()
	if !e.Found() {
		x.counts.add(touchMisses, 1)
		return false
	}
	e.Count(store.Touch)
	e.Use()
	m := e.Meta()
	m.Expires = expires
	e.SetMeta(m)
	return true
}

// textDelete serves delete.
func (w *worker) textDelete() {
	if w.remove(w.req.Key) {
		w.unlessQuiet("DELETED")
	} else {
		w.unlessQuiet("NOT_FOUND")
	}
}

// remove removes an item, and reports whether there was one.
func (x *executor) remove(key []byte) (found bool) {
	x.detail.delete(key)
	e := x.look(key)
	defer e.Unlock()
	if !e.Found() {
		x.counts.add(deleteMisses, 1)
		return false
	}
	e.Count(store.Delete)
	e.Delete()
	return true
}

// textFlush serves flush_all.
func (w *worker) textFlush() {
	w.counts.add(cmdFlush, 1)
	if w.config.NoFlush {
		w.unlessQuiet(flushNotAllowed)
		return
	}
	w.flushAll(int64(w.req.Exptime))
	w.unlessQuiet("OK")
}

const flushNotAllowed = "CLIENT_ERROR flush_all not allowed"

// flushAll removes all items at the time given by a client's number. Without a time, or with a date that has passed, it removes them at once, and
// items stored afterwards stay. Otherwise the flush takes effect in the second before that time, as in memcached: items stored until that second
// ends are not found any more. So with a time of 1, items stored in the rest of the present second are not found. Without unique numbers
// memcached's flush comes a second later. A date before the start of the cache only cancels a pending flush.
func (x *executor) flushAll(exptime int64) {
	now := x.clock.Unix()
	at := now
	if exptime > 0 {
		at = expiry(exptime, now)
	}
	last := at - 1
	if x.config.NoCAS {
		last = at
	}
	x.flushed.Store(max(0, last-x.began))
	switch {
	case at <= x.began-beforeBegin:
		x.store.FlushThrough(now - 1)
	case at <= now:
		x.store.FlushAll(now)
	default:
		x.store.FlushThrough(last)
	}
}

// beforeBegin is one less than the number of seconds by which memcached's clock begins before the start of the process. Later dates count as
// after the start.
const beforeBegin = 61

// textShutdown serves shutdown.
func (w *worker) textShutdown() {
	args := w.req.Args
	switch {
	case w.config.Shutdown == nil:
		w.line("ERROR: shutdown not enabled")
	case len(args) == 1, len(args) == 2 && string(args[1]) == "graceful":
		w.quit, w.bye = true, true
		w.config.Shutdown(len(args) == 2)
	default:
		w.line("CLIENT_ERROR invalid shutdown mode")
	}
}

// textRefresh serves refresh_certs.
func (w *worker) textRefresh() {
	if w.config.RefreshCerts == nil {
		w.line("Error TLS not enabled")
		return
	}
	w.later("Error busy", func() string { // it reads files
		if err := w.config.RefreshCerts(); err != nil {
			return "Error " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		return "OK"
	})
}

const memLimitFailed = "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust"

// textMemLimit serves cache_memlimit.
func (w *worker) textMemLimit() {
	megabytes := w.req.Level
	switch {
	case megabytes < 8:
		w.unlessQuiet("MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m")
	case megabytes > 1_000_000_000:
		w.unlessQuiet("MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes")
	default:
		w.later(memLimitFailed, func() string { // it may have to evict items
			if err := w.setMemory(int64(megabytes) << 20); err != nil {
				return memLimitFailed
			}
			return "OK"
		})
	}
}

// setMemory changes the limit. If the limit becomes lower, it also returns the memory of Go's heap that is free now to the system; otherwise this
// would take minutes.
func (c *Cache) setMemory(n int64) error {
	c.resizing.Lock()
	defer c.resizing.Unlock()
	before := c.store.Stats().Limit
	if err := c.store.SetMemory(n); err != nil {
		return err
	}
	if n < before {
		debug.FreeOSMemory()
	}
	return nil
}

// later runs fn, which takes long, on a goroutine of its own and answers with its result. The connection's next commands wait for it. The answer
// to a datagram, and to a client that does not read its answers, is refusal.
func (w *worker) later(refusal string, fn func() (answer string)) {
	w.flush()
	if w.conn == nil || w.full || w.failed {
		w.unlessQuiet(refusal)
		return
	}
	quiet := w.req.NoReply
	w.runTask(func(c *server.Conn) {
		if answer := fn(); !quiet {
			_, _ = c.WriteString(answer + "\r\n") // an error means that the connection is closed
		}
	})
}

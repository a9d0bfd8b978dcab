package memcache

import (
	"bytes"
	"fmt"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/server"
)

// slabClasses is memcached's number of slab classes, including 0.
const slabClasses = 64

// merged is the number of the store's smallest classes that clients see as one: those of items up to 96 bytes, which are in class 1 of memcached.
// Some programs look for small items there.
const merged = 3

// classNumber returns the number of the class of items of a size in statistics and dumps.
func classNumber(size int) int { return max(0, store.ClassOf(size)-merged+1) + 1 }

// classSet is the set of classes of a dump.
type classSet [slabClasses]bool

// parseClasses parses "all", or numbers from 1 separated by commas. none is true if there are only commas.
func parseClasses(word []byte) (set classSet, none, ok bool) {
	if string(word) == "all" {
		for i := range set {
			set[i] = true
		}
		return set, false, true
	}
	none = true
	for part := range bytes.SplitSeq(word, []byte(",")) {
		if len(part) == 0 {
			continue
		}
		n, isNumber := protocol.ParseUint32(part)
		if !isNumber || n < 1 || n >= slabClasses {
			return set, false, false
		}
		set[n], none = true, false
	}
	return set, none, true
}

// metadump lists the keys of some classes with their metadata. The list may be larger than memory, so a goroutine walks the store as fast as the
// client reads; the connection's next commands wait until it has ended. Only one dump runs at a time.
func (w *worker) metadump(classes classSet) {
	if w.conn == nil {
		w.line("ERROR metadump needs a connection")
		return
	}
	w.flush()
	if w.full || w.failed || !w.dumping.CompareAndSwap(false, true) {
		w.line("BUSY currently processing crawler request")
		return
	}
	w.runTask(func(c *server.Conn) {
		defer w.dumping.Store(false)
		writeMetadump(c, w.store, &classes)
	})
}

// runTask runs fn on a goroutine of its own. Until it returns, the connection's next commands wait.
func (w *worker) runTask(fn func(c *server.Conn)) {
	c := w.conn
	c.PauseRead(pauseForDump)
	w.paused = true
	w.tasks.Go(func() {
		defer c.ResumeRead(pauseForDump)
		if !w.isolated("command", func() { fn(c) }) {
			c.Abort()
		}
	})
}

// dumpPiece is the size in bytes of the writes of a dump.
const dumpPiece = 64 << 10

// A dumpWriter writes a list to a connection, on a goroutine of its own, as fast as the client reads.
type dumpWriter struct {
	c      *server.Conn
	buf    []byte
	failed bool
}

func newDumpWriter(c *server.Conn) *dumpWriter {
	return &dumpWriter{c: c, buf: make([]byte, 0, dumpPiece+4096)}
}

// flush writes what is in buf and waits until the kernel has taken it.
func (d *dumpWriter) flush() {
	taken := make(chan error, 1)
	if d.failed = d.c.WriteNotify(d.buf, func(err error) { taken <- err }) != nil; !d.failed {
		d.failed = <-taken != nil
	}
	d.buf = d.buf[:0]
}

// next reports whether another line is to be added. It flushes buf when it is large enough.
func (d *dumpWriter) next() bool {
	if len(d.buf) >= dumpPiece {
		d.flush()
	}
	return !d.failed
}

// end ends the list. If the list cannot be written completely, the connection is closed, so that the client does not take a part for the
// whole.
func (d *dumpWriter) end() {
	if !d.failed {
		d.buf = append(d.buf, listEnd...)
		d.flush()
	}
	if d.failed {
		d.c.Abort()
	}
}

const listEnd = "END\r\n"

// writeMetadump writes the keys of some classes with their metadata.
func writeMetadump(c *server.Conn, st *store.Store, classes *classSet) {
	d := newDumpWriter(c)
	st.All(func(it store.Listed) bool {
		if !classes[classNumber(it.Size)] {
			return true
		}
		expires := it.Meta.Expires
		if expires == 0 {
			expires = -1
		}
		d.buf = append(d.buf, "key="...)
		d.buf = protocol.AppendEscaped(d.buf, it.Key)
		d.buf = append(appendDebug(d.buf, expires, it.LastAccess, it.Meta.CAS, it.Fetched, it.Size), '\n')
		return d.next()
	})
	d.end()
}

// maxCachedump is the maximum length in bytes of the answer to stats cachedump, including its end.
const maxCachedump = 2 << 20

// cachedump serves stats cachedump: it lists up to a number of keys of one class, or all keys if the number is 0.
func (w *worker) cachedump(args [][]byte) {
	switch {
	case w.config.NoDump:
		w.line("CLIENT_ERROR stats cachedump not allowed")
		return
	case len(args) < 4:
		w.line("CLIENT_ERROR bad command line")
		return
	}
	class, ok := protocol.ParseUint32(args[2])
	limit, second := protocol.ParseUint32(args[3])
	switch {
	case !ok || !second:
		w.line(string(protocol.BadFormat))
	case class >= slabClasses:
		w.line("CLIENT_ERROR Illegal slab id")
	case w.conn == nil:
		w.line("CLIENT_ERROR stats cachedump needs a connection")
	default:
		w.flush()
		if w.full || w.failed {
			w.line("SERVER_ERROR out of memory writing stats")
			return
		}
		w.runTask(func(c *server.Conn) { writeCachedump(c, w.store, int(class), int(limit)) })
	}
}

// writeCachedump writes the keys of a class, with the lengths of their values and their expiry times, 0 for never. As in memcached, it omits keys
// sent in base64. Class 0 has no items.
func writeCachedump(c *server.Conn, st *store.Store, class, limit int) {
	d := newDumpWriter(c)
	total, shown := len(listEnd), 0
	st.All(func(it store.Listed) bool {
		if classNumber(it.Size) != class || it.Meta.Bits&bitBase64 != 0 {
			return true
		}
		before := len(d.buf)
		d.buf = fmt.Appendf(d.buf, "ITEM %s [%d b; %d s]\r\n", it.Key, it.Value, it.Meta.Expires)
		if total += len(d.buf) - before; total >= maxCachedump {
			d.buf = d.buf[:before]
			return false
		}
		shown++
		return shown != limit && d.next()
	})
	d.end()
}

// yesNo is how memcached writes a bool.
func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// appendDebug appends the metadata of an item that me and metadump show.
func appendDebug(b []byte, expires, lastAccess int64, cas uint64, fetched bool, size int) []byte {
	return fmt.Appendf(b, " exp=%d la=%d cas=%d fetch=%s cls=%d size=%d", expires, lastAccess, cas, yesNo(fetched), classNumber(size), size)
}

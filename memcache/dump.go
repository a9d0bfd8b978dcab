package memcache

import (
	"fmt"
	"net"

	"github.com/evmq/evmq/memcache/protocol"
	"github.com/evmq/evmq/memcache/store"
	"github.com/evmq/evmq/server"
)

// textCrawler serves lru_crawler. The store is rid of what has expired without a crawler; what is left is the list of all keys.
func (w *worker) textCrawler() {
	args := w.req.Args
	switch {
	case len(args) != 3 || string(args[1]) != "metadump" && string(args[1]) != "crawl":
		w.line(string(protocol.Unknown))
	case string(args[2]) != "all" && string(args[2]) != "hash":
		w.line("BADCLASS invalid class id")
	case string(args[1]) == "metadump":
		w.dump()
	default: // one step of it; the clock makes the others
		w.store.Reap(reaped)
		w.line("OK")
	}
}

// dump lists all keys with what is known about them. It may be more than memory holds, so a goroutine goes through the store,
// as fast as the client reads; until it has ended, the connection's next commands wait. There is one at a time.
func (w *worker) dump() {
	switch {
	case w.config.NoDump:
		w.line("ERROR metadump not allowed")
	case w.conn == nil:
		w.line("ERROR metadump needs a connection")
	default:
		w.flush()
		if w.full || w.failed || !w.dumping.CompareAndSwap(false, true) {
			w.line("BUSY currently processing crawler request")
			return
		}
		w.aside(func(c *server.Conn) {
			defer w.dumping.Store(false)
			dump(c, w.store)
		})
	}
}

// aside has fn run on a goroutine of its own. Until it returns the connection's next commands wait.
func (w *worker) aside(fn func(c *server.Conn)) {
	c := w.conn
	c.PauseRead()
	w.paused = true
	w.asides.Go(func() {
		defer c.ResumeRead()
		fn(c)
	})
}

// dumpPiece is how much of a dump is on its way at a time.
const dumpPiece = 64 << 10

// dump writes the list. One that does not come to its end ends the connection: nobody shall take it for all there is.
func dump(c *server.Conn, st *store.Store) {
	buf := make([]byte, 0, dumpPiece+4096)
	taken := make(chan error, 1)
	write := func() bool {
		if c.WriteNotify(buf, func(err error) { taken <- err }) != nil {
			return false
		}
		buf = buf[:0]
		return <-taken == nil
	}
	alive := true
	st.All(func(key []byte, m store.Meta, lastAccess int64, fetched bool, size int) bool {
		expires := m.Expires
		if expires == 0 {
			expires = -1
		}
		buf = append(buf, "key="...)
		buf = appendEscaped(buf, key)
		buf = append(appendDebug(buf, expires, lastAccess, m.CAS, fetched, size), '\n')
		if len(buf) >= dumpPiece {
			alive = write()
		}
		return alive
	})
	if alive {
		buf = append(buf, "END\r\n"...)
		alive = write()
	}
	if !alive {
		c.Abort()
	}
}

// appendEscaped appends a key with everything but letters, digits and -._~ as %XX.
func appendEscaped(b, key []byte) []byte {
	const hex = "0123456789ABCDEF"
	for _, c := range key {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

// yesNo is how memcached writes a bool.
func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// appendDebug appends what me and the list of all keys know about an item.
func appendDebug(b []byte, expires, lastAccess int64, cas uint64, fetched bool, size int) []byte {
	return fmt.Appendf(b, " exp=%d la=%d cas=%d fetch=%s cls=%d size=%d", expires, lastAccess, cas, yesNo(fetched), class, size)
}

// class is the slab class that every item is said to be in: the store has none.
const class = 1

// named is an address as stats conns has it.
func named(a net.Addr) string {
	if a == nil {
		return "?"
	}
	return a.Network() + ":" + a.String()
}

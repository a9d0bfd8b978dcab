package memcache

import (
	"github.com/evmq/evmq/memcache/internal/watch"
	"github.com/evmq/evmq/server"
)

// An executor executes commands on the items of the store: it counts them, and writes lines about them for watchers. Each worker has one for the
// commands of its connections. A method of Cache that the program calls has one of its own.
type executor struct {
	*Cache
	counts *counters
	events *watch.Buffer // lines for watchers
	conn   *server.Conn  // the connection that is served; nil for a datagram and for a call of the program
	socket int           // without conn: the socket of the datagram, or noSocket
	parts  [][]byte      // scratch memory of join
	padded []byte        // scratch memory of arith: a number, padded with spaces to the length of the old value
}

// noSocket is the descriptor in lines for watchers about a call of the program.
const noSocket = -1

// caller returns the executor of a call of the program.
func (c *Cache) caller() executor {
	return executor{Cache: c, counts: &c.callCounts, events: c.events, socket: noSocket}
}

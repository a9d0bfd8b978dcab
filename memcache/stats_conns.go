package memcache

import (
	"fmt"
	"strconv"

	"github.com/evmq/evmq/server"
)

// statsConns emits the connections.
func (c *Cache) statsConns(line emit) {
	c.mu.Lock()
	servers := append([]*server.Server(nil), c.servers...)
	c.mu.Unlock()
	now := c.clock.Unix()
	fd := 0 // a number, as descriptors are there
	for _, srv := range servers {
		for conn := range srv.Conns() {
			s, ok := conn.Data().(*session)
			if !ok {
				continue
			}
			fd++
			line(fmt.Sprintf("%d:addr", fd), named(conn.RemoteAddr()))
			line(fmt.Sprintf("%d:listen_addr", fd), named(conn.LocalAddr()))
			line(fmt.Sprintf("%d:state", fd), "conn_read")
			line(fmt.Sprintf("%d:secs_since_last_cmd", fd), strconv.FormatInt(now-s.last.Load(), 10))
		}
	}
}

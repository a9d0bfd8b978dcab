package memcache

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/evmq/evmq/server"
)

// connState is the state of a connection, in memcached's terms: what it waits for.
type connState uint32

const (
	stateRead    connState = iota // a request
	stateValue                    // the rest of a value
	stateSwallow                  // the rest of input to discard
	stateWatch                    // nothing: it is a watcher
)

// String returns the name in stats conns.
func (s connState) String() string {
	return [...]string{"conn_read", "conn_nread", "conn_swallow", "conn_watch"}[s]
}

// setState updates the state after requests were served.
func (s *session) setState() {
	state := stateRead
	switch {
	case s.watcher != nil:
		state = stateWatch
	case s.value != nil, s.partial, s.login != nil:
		state = stateValue
	case s.skip > 0:
		state = stateSwallow
	}
	if connState(s.state.Load()) != state {
		s.state.Store(uint32(state))
	}
}

// A socketReport is the lines of stats conns about a socket.
type socketReport struct {
	fd           int
	udp          bool
	addr, listen string // listen is "" for listeners and datagram sockets
	state        string
	idle         int64 // seconds since the last request
}

// statsConns emits listeners, connections and datagram sockets, in the order of their descriptors. asking is the connection of the request, nil
// for a datagram.
func (c *Cache) statsConns(asking *server.Conn, line emit) {
	c.mu.Lock()
	servers := slices.Clone(c.servers)
	c.mu.Unlock()
	now := c.clock.Unix()
	var all []socketReport
	if c.config.Listeners != nil {
		for _, l := range c.config.Listeners() {
			if l != nil { // the program may keep places for listeners that it does not have yet
				all = append(all, c.listening(descriptorOf(l), l.Addr(), now))
			}
		}
	}
	for _, srv := range servers {
		for _, ln := range srv.Listeners() {
			all = append(all, c.listening(ln.FD(), ln.Addr(), now))
		}
		for _, pc := range srv.PacketConns() {
			all = append(all, socketReport{fd: pc.FD(), udp: true, addr: named(pc.LocalAddr()), state: stateRead.String(), idle: now - c.packets.last.Load()})
		}
		for conn := range srv.Conns() {
			if s, ok := conn.Value().(*session); ok {
				all = append(all, s.report(conn, conn == asking, now))
			}
		}
	}
	slices.SortStableFunc(all, func(a, b socketReport) int { return cmp.Compare(a.fd, b.fd) })
	for _, r := range all {
		if r.udp {
			line(fmt.Sprintf("%d:UDP", r.fd), "UDP")
		}
		line(fmt.Sprintf("%d:addr", r.fd), r.addr)
		if r.listen != "" {
			line(fmt.Sprintf("%d:listen_addr", r.fd), r.listen)
		}
		line(fmt.Sprintf("%d:state", r.fd), r.state)
		line(fmt.Sprintf("%d:secs_since_last_cmd", r.fd), strconv.FormatInt(r.idle, 10))
	}
}

// listening returns the report of a listener.
func (c *Cache) listening(fd int, addr net.Addr, now int64) socketReport {
	return socketReport{fd: fd, addr: named(addr), state: "conn_listening", idle: now - c.began}
}

// descriptorOf returns the descriptor of a listener, or -1.
func descriptorOf(l net.Listener) int {
	number := -1
	if sc, ok := l.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { number = int(fd) }) // fails when it is closed: there is no number then
		}
	}
	return number
}

// report returns the report of the session's connection.
func (s *session) report(c *server.Conn, asking bool, now int64) socketReport {
	r := socketReport{fd: int(s.fd), addr: "?:<AF 0>", listen: named(c.LocalAddr()), idle: max(0, now-s.last.Load())}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok { // the client of a unix socket has no address, and memcached 1.6.18 writes an empty one
		r.addr = named(a)
	}
	state := connState(s.state.Load())
	switch r.state = state.String(); {
	case asking:
		r.state = "conn_parse_cmd"
	case state != stateWatch && c.Stats().BufferedBytes > 0:
		r.state = "conn_mwrite"
	}
	return r
}

// statsTLS emits memcached's statistics about TLS, if TLS is on.
func (c *Cache) statsTLS(line emit) {
	if c.config.CertsRead == nil {
		return
	}
	conns, _ := c.connections()
	c.mu.Lock()
	failed := conns.FailedHandshakes - c.failedHandshakes
	c.mu.Unlock()
	if c.tuning.on("ssl_session_cache") {
		line.number("ssl_new_sessions", c.total()[newSessions])
	}
	line.number("ssl_handshake_errors", failed)
	line("time_since_server_cert_refresh", strconv.FormatInt(int64(time.Since(c.config.CertsRead())/time.Second), 10))
}

// countTLSSession counts a TLS session that does not resume an earlier one.
func (s *session) countTLSSession(c *server.Conn) {
	if s.w.config.CertsRead == nil { // there is no TLS
		return
	}
	if state, ok := c.TLS(); ok && !state.DidResume {
		s.w.counts.add(newSessions, 1)
	}
}

// named returns an address in memcached's form: tcp:127.0.0.1:11211, tcp6:[::1]:11211, unix:/path.
func named(a net.Addr) string {
	if a == nil {
		return "?"
	}
	network := a.Network()
	var ip net.IP
	switch a := a.(type) {
	case *net.TCPAddr:
		ip = a.IP
	case *net.UDPAddr:
		ip = a.IP
	}
	if ip != nil && ip.To4() == nil {
		network += "6"
	}
	return network + ":" + a.String()
}

package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
)

// attemptDelay is the time after which the next address is tried as well: the Connection Attempt Delay of RFC 8305, section 5.
const attemptDelay = 250 * time.Millisecond

// maxAttempts limits the attempts of one Dial that are under way at once, each of which has a descriptor. The next address then replaces
// the oldest attempt. It is two seconds old, enough for the kernel to have sent its first packet twice.
const maxAttempts = 8

// errNoAnswer is the error of an attempt that was replaced by the next one.
var errNoAnswer = fmt.Errorf("no answer while %d other addresses were tried: %w", maxAttempts-1, unix.ETIMEDOUT)

// maxRepeats limits the repeats of an attempt whose socket was connected to itself.
const maxRepeats = 2

// dialing is the state of a connection until it is connected. It belongs to the loop when the lookup has ended.
type dialing struct {
	network  string
	host     string // looked up if targets is nil
	port     string // likewise
	resolver *net.Resolver
	ctx      context.Context
	stop     context.CancelFunc // ends the lookup
	targets  []unix.Sockaddr    // the addresses that were not tried yet
	attempts []*attempt         // the attempts under way, the oldest first; see maxAttempts
	next     *event.Event       // starts the next attempt
	err      error              // of the lookup, or of the attempts that have failed
	tls      *tls.Config
}

// An attempt is a socket that is connecting.
type attempt struct {
	c       *loopConn
	d       *dialing
	target  unix.Sockaddr
	repeats int
	fd      int
	e       event.Event
}

// connect starts the next attempt. The connection fails if no address is left and no attempt is under way. On the loop.
func (c *loopConn) connect() {
	c.mu.Lock()
	d := c.ext.dial
	c.mu.Unlock()
	d.stopNext()
	for len(d.targets) > 0 {
		if !c.loop.srv.mayAttempt(d) {
			c.connectLater(d)
			return
		}
		if len(d.attempts) == maxAttempts {
			d.attempts[0].giveUp(errNoAnswer)
		}
		a := &attempt{c: c, d: d, target: d.targets[0], fd: -1}
		d.targets = d.targets[1:]
		if err := a.start(); err != nil {
			a.failed(err)
			continue
		}
		if len(d.targets) > 0 {
			c.connectLater(d)
		}
		return
	}
	if len(d.attempts) == 0 {
		c.fail(fmt.Errorf("dial: %w", d.err))
	}
}

// mayAttempt reports whether another attempt of d may begin. The first one uses the descriptor of the connection. The others of all
// connections together may use maxFiles descriptors.
func (s *Server) mayAttempt(d *dialing) bool {
	n := len(d.attempts)
	return n == 0 || n == maxAttempts || s.attempts.Load() < s.cfg.maxFiles
}

// connectLater starts the next attempt after attemptDelay.
func (c *loopConn) connectLater(d *dialing) {
	next, err := c.loop.ev.AfterFunc(attemptDelay, func() {
		c.loop.assertInLoop("the delay of an attempt to connect")
		if c.life == lifeDialing {
			c.loop.setCurrent(c)
			c.connect()
			c.loop.clearCurrent()
		}
	})
	if err != nil && !errors.Is(err, event.ErrClosed) {
		c.loop.srv.cfg.Logger.Error("server: delay an attempt to connect", "err", err)
	}
	d.next = next
}

// start begins to connect. It leaves no descriptor when it fails.
func (a *attempt) start() error {
	s := a.c.loop.srv
	fd, err := sock.Socket(a.d.network, a.target)
	if err != nil {
		return err
	}
	if err = s.cfg.socket().ApplyConn(a.d.network, fd); err == nil {
		if err = s.calls.Connect(fd, a.target); errors.Is(err, unix.EINPROGRESS) {
			err = nil
		}
	}
	if err == nil {
		err = a.c.loop.ev.InitEvent(&a.e, fd, event.Write|event.Persist, a.ready)
	}
	if err == nil {
		err = a.e.Add(event.NoTimeout)
	}
	if err != nil {
		return errors.Join(err, s.calls.Close(fd))
	}
	a.fd = fd
	if len(a.d.attempts) > 0 {
		s.attempts.Add(1)
	}
	a.d.attempts = append(a.d.attempts, a)
	return nil
}

// failed adds the error of the attempt to those of the Dial.
func (a *attempt) failed(err error) {
	err = fmt.Errorf("connect to %s: %w", sock.AddressName(a.target), err)
	if a.d.err != nil {
		err = fmt.Errorf("%w; %w", a.d.err, err)
	}
	a.d.err = err
}

// dialTimedOut returns the reason of a dial whose time has passed, with the errors of its attempts.
func (c *loopConn) dialTimedOut() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.ext.dial; d.err != nil {
		return fmt.Errorf("%w; %w", ErrDialTimeout, d.err)
	}
	return ErrDialTimeout
}

// ready is the callback of an attempt's event: the attempt has succeeded or failed.
func (a *attempt) ready(*event.Event, event.Flags) {
	a.c.loop.assertInLoop("an attempt to connect")
	c := a.c
	if a.fd < 0 || c.life != lifeDialing {
		return
	}
	c.loop.setCurrent(c)
	a.finish()
	c.loop.clearCurrent()
}

// finish gets the result of the attempt and continues with it.
func (a *attempt) finish() {
	c := a.c
	err := c.loop.srv.calls.SockError(a.fd)
	if err == nil && sock.ToItself(a.fd) {
		err = a.repeat()
		if err == nil {
			return
		}
	}
	if err == nil {
		c.connected(a)
		return
	}
	a.giveUp(err)
	c.connect()
}

// giveUp ends an attempt that is under way, with an error.
func (a *attempt) giveUp(err error) {
	if e := a.drop(); e != nil {
		err = errors.Join(err, e)
	}
	a.failed(err)
}

// repeat tries the same address again, from another port. The socket is reset, so that its port does not stay in TIME_WAIT.
func (a *attempt) repeat() error {
	_ = unix.SetsockoptLinger(a.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // its error only means that the port stays in use for longer
	if err := a.drop(); err != nil {
		return err
	}
	if a.repeats == maxRepeats {
		return fmt.Errorf("connected to itself: %w", unix.ECONNREFUSED)
	}
	again := &attempt{c: a.c, d: a.d, target: a.target, repeats: a.repeats + 1, fd: -1}
	return again.start()
}

// drop closes the descriptor of the attempt.
func (a *attempt) drop() error {
	if a.fd < 0 {
		return nil
	}
	_ = a.e.Del() // its failure may be the reason why the attempt has failed
	fd := a.fd
	a.take()
	return a.c.loop.srv.calls.Close(fd)
}

// take removes the attempt. Its descriptor belongs to the caller.
func (a *attempt) take() {
	a.fd = -1
	a.d.attempts = slices.DeleteFunc(a.d.attempts, func(b *attempt) bool { return a == b })
	if len(a.d.attempts) > 0 {
		a.c.loop.srv.attempts.Add(-1)
	}
}

// stopNext stops the timer of the next attempt.
func (d *dialing) stopNext() {
	if d.next != nil {
		_ = d.next.Del() // it may have fired
		d.next = nil
	}
}

// dropAttempts ends all attempts of a connection that is connected or has failed. On the loop.
func (c *loopConn) dropAttempts(d *dialing) {
	d.stopNext()
	for len(d.attempts) > 0 {
		if err := d.attempts[0].drop(); err != nil {
			c.loop.srv.cfg.Logger.Warn("server: close an attempt to connect", "err", err)
		}
	}
}

// connected makes the socket of the attempt a, which is connected, the socket of the connection.
func (c *loopConn) connected(a *attempt) {
	l, fd, d := c.loop, a.fd, a.d
	_ = a.e.Del() // the event of the connection takes its place
	a.take()
	c.dropAttempts(d)
	err := c.ev.Del()
	if err == nil {
		err = l.ev.InitEvent(&c.ev, fd, event.Read|event.Persist, l.callback)
	}
	if err != nil {
		c.fail(errors.Join(err, l.srv.calls.Close(fd)))
		return
	}
	delete(l.dialing, c)
	l.srv.conns.set(fd, c)
	d.stop()
	peer, err := sock.RemotePeer(fd)
	if err != nil { // it was connected and has been reset: Open is called, and a read returns the error
		peer = sock.PeerOf(a.target)
	}
	c.mu.Lock()
	c.ext.dial = nil
	c.startRunning()
	c.peer = peer
	c.mu.Unlock()
	if err := c.ev.Add(event.NoTimeout); err != nil {
		c.fail(err)
		return
	}
	c.established(d)
}

// established continues with the handshake or with the handler.
func (c *loopConn) established(d *dialing) {
	if d.tls != nil {
		c.beginWithTLS(d.tls, true)
		c.startHandshake()
	} else {
		c.opened()
	}
	if c.life.isGone() {
		return
	}
	c.flush()
	c.arm() // the event is new, and its timer was not set yet
}

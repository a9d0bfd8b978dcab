package server_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/evmq/evmq/server"
)

// errWrong reports that a client has received wrong bytes.
var errWrong = errors.New("soak")

// take checks a frame of the server.
func (c *soakClient) take(f frame) error {
	switch {
	case (f.tag == tagAnswer || f.tag == tagPart) && f.link == c.link.id:
		return c.takeAnswer(f)
	case f.tag == tagPush && f.link == c.link.id && int(f.kind) < len(c.link.pushed):
		if f.seq != c.pushed[f.kind] {
			return fmt.Errorf("%v instead of number %d", f, c.pushed[f.kind])
		}
		c.pushed[f.kind]++
	case f.tag == tagBroadcast:
		if int64(f.seq) <= c.cast {
			return fmt.Errorf("%v after number %d", f, c.cast)
		}
		c.cast = int64(f.seq)
		c.casts++
	default:
		return fmt.Errorf("%v came to %v", f, c.link)
	}
	c.pushes.Add(1)
	return nil
}

func (c *soakClient) takeAnswer(f frame) error {
	if c.asked == nil {
		select {
		case req := <-c.sent:
			c.asked = &req
		default:
			return fmt.Errorf("%v, and all requests are answered", f)
		}
	}
	req := *c.asked
	if err := f.isAnswerTo(req); err != nil {
		return err
	}
	if isPart := f.tag == tagPart; isPart != (req.kind == kindParts && !c.part) {
		return fmt.Errorf("%v, and its first part has come: %v", f, c.part)
	}
	if c.part = f.tag == tagPart; !c.part {
		c.asked = nil
		c.got++
	}
	return nil
}

// checkEnd checks how the session has ended.
func (c *soakClient) checkEnd(read, wrote error) {
	l := c.link
	conn := l.conn.Load()
	switch {
	case errors.Is(read, errWrong):
		c.fail("%v, after %d answers: %v", l, c.got, read)
		return
	case c.ending == endSilent:
		c.compare("at most", func(got, want uint32) bool { return got <= want })
		return
	case errors.Is(read, os.ErrDeadlineExceeded) || errors.Is(wrote, os.ErrDeadlineExceeded):
		c.fail("%v: stuck after %d answers to %d requests: reading %v, writing %v; %s", l, c.got, c.wrote, read, wrote, c.state(conn))
		return
	case isAbrupt(c.ending):
		c.compare("at most", func(got, want uint32) bool { return got <= want })
		return
	case conn == nil:
		if !c.stopping.Load() {
			c.fail("%v: no request came, reading %v, writing %v", l, read, wrote)
		}
		return
	}
	select {
	case <-l.closed:
	case <-time.After(soakPatience):
		c.fail("%v: Close is not called; reading %v, writing %v; %s", l, read, wrote, c.state(conn))
		return
	case <-c.failed:
		return
	}
	if !c.isExpected(l.reason) {
		c.fail("%v: closed with %v; %d answers to %d requests, reading %v, writing %v", l, l.reason, c.got, c.wrote, read, wrote)
		return
	}
	if read != io.EOF {
		c.fail("%v: closed with %v in good order, and reading ended with %v after %d answers to %d requests", l, l.reason, read, c.got, c.wrote)
		return
	}
	if l.reason != server.ErrServerClosed && c.got != c.wrote {
		c.fail("%v: closed with %v after %d answers to %d requests", l, l.reason, c.got, c.wrote)
	}
	if n := l.dropped.Load(); n > 0 {
		c.fail("%v: closed with %v in good order, and %d writes that were accepted failed", l, l.reason, n)
	}
	c.compare("exactly", func(got, want uint32) bool { return got == want })
	c.orders.Add(1)
}

// isExpected reports whether a session that ended in order may end with this reason.
func (c *soakClient) isExpected(reason error) bool {
	if reason == server.ErrServerClosed {
		return c.stopping.Load()
	}
	switch c.ending {
	case endHalfClose:
		return reason == io.EOF
	case endTruncated:
		return reason == io.EOF || errors.Is(reason, io.ErrUnexpectedEOF)
	case endBye:
		return reason == nil
	case endHalf:
		return reason == nil || reason == io.EOF
	}
	return false
}

// compare compares the pushes that were received with those that were accepted.
func (c *soakClient) compare(how string, good func(got, want uint32) bool) {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, want := range l.pushed {
		if got := c.pushed[i]; !good(got, want) {
			c.fail("%v: closed with %v, %d pushes of %d came, not %s %d", l, l.reason, got, i, how, want)
		}
	}
	if !good(c.casts, l.casts) {
		c.fail("%v: closed with %v, %d broadcasts came, not %s %d", l, l.reason, c.casts, how, l.casts)
	}
}

// state describes a connection that makes no progress, for messages.
func (c *soakClient) state(conn *server.Conn) string {
	st := c.srv.Stats()
	st.Loops = nil
	if conn == nil {
		return fmt.Sprintf("the server has not heard of it: %+v", st)
	}
	return fmt.Sprintf("on the server %+v, %d requests came; %+v", conn.Stats(), c.link.next.Load(), st)
}

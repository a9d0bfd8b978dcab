package server

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/evmq/evmq/internal/sock"
)

// maxHandshakeInput bounds what a client may send before its handshake has ended.
const maxHandshakeInput = 64 << 10

// tlsPipe is the net.Conn that crypto/tls sees. During the handshake its Read waits for the loop to feed it; after that, nothing
// waits: only the loop uses it, Read says errWouldBlock, and Write gathers records for the loop to give to the kernel.
type tlsPipe struct {
	c *Conn

	mu      sync.Mutex
	more    sync.Cond // in has grown, or closed
	in      []byte
	partial int  // bytes at the end of in that are of a record that is not complete: they wait here, where they are counted
	used    bool // in has been read from, so that it holds more memory than it shows
	out     []byte
	shaking bool // the handshake has not ended
	closed  bool
	since   time.Time     // Read waits from then on; zero if it does not
	waited  time.Duration // all its waits before, together
	eof     bool
	full    bool  // the loop reads no more until in is empty
	err     error // of the handshake

	records records // what has come. Loop only
	lent    bool    // in is the loop's buffer. Loop only
	lentOut bool    // out is. Loop only
}

// errWouldBlock is temporary, which crypto/tls takes for a reason to keep its state; a timeout it would remember for ever.
var errWouldBlock net.Error = wouldBlockError{}

type wouldBlockError struct{}

func (wouldBlockError) Error() string   { return "server: no more bytes now" }
func (wouldBlockError) Timeout() bool   { return false }
func (wouldBlockError) Temporary() bool { return true }

func newTLSPipe(c *Conn) *tlsPipe {
	p := &tlsPipe{c: c, shaking: true}
	p.more.L = &p.mu
	return p
}

// Read gives crypto/tls what has come.
func (p *tlsPipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.readable() == 0 {
		switch {
		case p.closed:
			return 0, net.ErrClosed
		case p.eof:
			return 0, io.EOF
		case !p.shaking:
			return 0, errWouldBlock
		}
		if p.full {
			p.full = false
			p.mu.Unlock()
			p.c.poke()
			p.mu.Lock()
			continue
		}
		if p.since.IsZero() {
			p.since = time.Now()
		}
		p.more.Wait()
	}
	if !p.since.IsZero() {
		p.waited += time.Since(p.since)
		p.since = time.Time{}
	}
	n := copy(b, p.in[:p.readable()])
	p.in, p.used = p.in[n:], true
	return n, nil
}

// readable is how many bytes crypto/tls may read: whole records, since it would reserve memory for the largest record when it has seen the
// beginning of one. At the end of the stream, it may read the rest. Under mu.
func (p *tlsPipe) readable() int {
	if p.eof {
		return len(p.in)
	}
	return max(0, len(p.in)-p.partial)
}

// memory is what the pipe takes up in each direction. What is the loop's is not counted.
func (p *tlsPipe) memory() (in, out int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.lent {
		in = cap(p.in)
	}
	if !p.lentOut {
		out = cap(p.out)
	}
	return in, out
}

// Write takes a record from crypto/tls.
func (p *tlsPipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return 0, net.ErrClosed
	}
	p.out = append(p.out, b...)
	shaking := p.shaking
	p.mu.Unlock()
	if shaking { // on the handshake's goroutine
		p.c.mu.Lock()
		tell := p.c.mark(0)
		p.c.mu.Unlock()
		p.c.tell(tell)
	}
	return len(b), nil
}

// Close ends the handshake, if it still runs.
func (p *tlsPipe) Close() error {
	p.mu.Lock()
	p.closed = true
	p.in, p.out, p.partial = nil, nil, 0
	p.mu.Unlock()
	p.more.Broadcast()
	return nil
}

// feed adds what came during the handshake, and reports whether that is too much.
func (p *tlsPipe) feed(b []byte) (full bool) {
	p.records.add(b)
	p.mu.Lock()
	p.in = append(p.in, b...)
	p.partial = p.records.partial()
	full = len(p.in) > maxHandshakeInput
	p.full = full
	p.mu.Unlock()
	p.more.Broadcast()
	return full
}

// feedEOF says that nothing more will come.
func (p *tlsPipe) feedEOF() {
	p.mu.Lock()
	p.eof = true
	p.mu.Unlock()
	p.more.Broadcast()
}

// hungry reports whether the handshake has taken all there was, and more may come.
func (p *tlsPipe) hungry() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.full && !p.eof
}

func (p *tlsPipe) input() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.in
}

// lend makes b, the loop's buffer, the input, without a copy where nothing is left over. keep follows.
func (p *tlsPipe) lend(b []byte) {
	p.records.add(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.partial = p.records.partial()
	if len(p.in) > 0 {
		p.in = append(p.in, b...)
		return
	}
	p.in, p.lent = b, true
}

// toCopy is how many bytes of the loop's buffer keep would copy.
func (p *tlsPipe) toCopy() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.lent {
		return 0
	}
	return len(p.in)
}

// keep copies what is left of the loop's buffer, before the loop reads into it again.
func (p *tlsPipe) keep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.in) == 0:
		p.in = nil
	case p.lent || p.used:
		p.in = append([]byte(nil), p.in...)
	}
	p.lent, p.used = false, false
}

// lendOut gives the next records room, the loop's, if none wait already. keepOut follows.
func (p *tlsPipe) lendOut(room []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.out) == 0 {
		p.out, p.lentOut = room[:0], true
	}
}

// keepOut copies what has not left of the loop's room.
func (p *tlsPipe) keepOut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lentOut {
		p.out = append([]byte(nil), p.out...)
		p.lentOut = false
	}
}

// finish ends the handshake.
func (p *tlsPipe) finish(err error) {
	p.mu.Lock()
	p.err, p.shaking = err, false
	p.mu.Unlock()
}

func (p *tlsPipe) result() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// ready reports whether the handshake has succeeded.
func (p *tlsPipe) ready() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.shaking && p.err == nil
}

func (p *tlsPipe) waits() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.out) > 0
}

func (p *tlsPipe) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.out)
}

// stalled is how long a handshake has waited for its peer, all its waits together; 0 while it does not wait.
func (p *tlsPipe) stalled() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.since.IsZero() {
		return 0
	}
	return p.waited + time.Since(p.since)
}

func (p *tlsPipe) takeOutput() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.out
	p.out = nil
	return out
}

// flush gives the kernel up to limit bytes of the records, and reports whether that was all of them.
func (p *tlsPipe) flush(calls sock.Calls, fd, limit int) (n int, all bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.out) > 0 && n < limit {
		k, err := calls.Write(fd, p.out[:min(len(p.out), limit-n)])
		if err != nil {
			if wouldBlock(err) {
				return n, false, nil
			}
			return n, false, err
		}
		n += k
		p.out = p.out[k:]
	}
	if len(p.out) == 0 {
		p.out = nil
		return n, true, nil
	}
	return n, false, nil
}

// records counts the records in a stream, so that crypto/tls need not be asked for more when it has given out all there was.
type records struct {
	head  [recordHeader]byte
	have  int // bytes of head
	size  int // of the record whose head that is
	left  int // bytes of the record that are still to come
	whole int // records that are complete and perhaps not yet decrypted
}

const recordHeader = 5

func (r *records) add(b []byte) {
	for len(b) > 0 {
		if r.have < recordHeader {
			n := copy(r.head[r.have:], b)
			b = b[n:]
			if r.have += n; r.have < recordHeader {
				return
			}
			r.size = int(r.head[3])<<8 | int(r.head[4])
			r.left = r.size
		}
		n := min(r.left, len(b))
		b = b[n:]
		if r.left -= n; r.left == 0 {
			r.have = 0
			r.whole++
		}
	}
}

// partial is how many bytes at the end of the stream are of a record that is not complete. What cannot become a record is none: crypto/tls
// is to see it and say so.
func (r *records) partial() int {
	switch {
	case r.have < recordHeader:
		return r.have
	case r.size > maxRecord+2048, r.head[0] < 20, r.head[0] > 24, r.head[1] != 3:
		return 0
	}
	return recordHeader + r.size - r.left
}

// decrypted notes that at least one record was, and reports whether there is certainly nothing more, not even the beginning of one.
func (r *records) decrypted() (empty bool) {
	r.whole--
	return r.whole <= 0 && r.have == 0
}

// The rest of net.Conn. Deadlines are the loop's; crypto/tls sets one of its own when it says close_notify.

func (p *tlsPipe) LocalAddr() net.Addr              { return p.c.LocalAddr() }
func (p *tlsPipe) RemoteAddr() net.Addr             { return p.c.RemoteAddr() }
func (p *tlsPipe) SetDeadline(time.Time) error      { return nil }
func (p *tlsPipe) SetReadDeadline(time.Time) error  { return nil }
func (p *tlsPipe) SetWriteDeadline(time.Time) error { return nil }

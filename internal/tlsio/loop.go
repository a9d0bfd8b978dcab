package tlsio

import (
	"errors"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// The methods that the loop calls.

// Feed adds a copy of b, which has come during the handshake. It reports whether the Pipe is full: then the loop reads no more until Changed
// is called and TakesInput reports true.
func (p *Pipe) Feed(b []byte) (full bool) {
	p.records.Add(b)
	p.mu.Lock()
	p.in = append(p.in, b...)
	p.partial = uint16(p.records.Partial())
	full = len(p.in) > MaxHandshakeInput
	p.full = full
	p.wake()
	p.mu.Unlock()
	return full
}

// FeedEOF says that nothing more will come.
func (p *Pipe) FeedEOF() {
	p.mu.Lock()
	p.eof = true
	p.wake()
	p.mu.Unlock()
}

// TakesInput reports whether the handshake has read what there was, and more may come.
func (p *Pipe) TakesInput() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.full && !p.eof
}

// HasInput reports whether input waits in the Pipe, whole records or not.
func (p *Pipe) HasInput() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.in) > 0
}

// HelloComplete is HelloComplete of what has come. Before the handshake's goroutine begins.
func (p *Pipe) HelloComplete() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return HelloComplete(p.in)
}

// First returns a copy of the first n bytes of what has come, or of all if there are fewer. Before the handshake's goroutine begins.
func (p *Pipe) First(n int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.in[:min(n, len(p.in))])
}

// Finish ends the handshake, with its error. The handshake's goroutine.
func (p *Pipe) Finish(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended, p.err, p.wait = true, err, nil
	if p.state != stateHandshake {
		return
	}
	if p.state = stateEstablished; err != nil {
		p.state = stateFailed
	}
}

// Err returns the argument of Finish, or nil before. Any goroutine.
func (p *Pipe) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Succeeded reports whether the handshake has ended without an error, also after Close and Detach. Any goroutine.
func (p *Pipe) Succeeded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended && p.err == nil
}

// Stalled returns the time for which a handshake that waits for its peer has waited, in total; 0 while it does not wait. Any goroutine.
func (p *Pipe) Stalled() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.wait
	if p.state != stateHandshake || w == nil || !w.stalls {
		return 0
	}
	return w.waited + p.owner.Now() - w.since
}

// Lend makes b, the loop's buffer, the input, without a copy unless some is left over. Keep follows. After the handshake.
func (p *Pipe) Lend(b []byte) {
	p.records.Add(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.partial = uint16(p.records.Partial())
	if len(p.in) > 0 {
		p.in = append(p.in, b...)
		return
	}
	p.in, p.lent = b, true
}

// Uncopied returns the number of bytes that Keep would copy out of the loop's buffer.
func (p *Pipe) Uncopied() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.lent {
		return 0
	}
	return len(p.in)
}

// Keep copies what is left of the loop's buffer. It also gives back the memory of input that was read.
func (p *Pipe) Keep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.in) == 0:
		p.in = nil
	case p.lent || p.used:
		p.in = slices.Clone(p.in)
	}
	p.lent, p.used = false, false
}

// LendOut makes room, the loop's buffer, the memory for the next records, unless records wait already. KeepOut follows.
func (p *Pipe) LendOut(room []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.out) == 0 {
		p.out, p.lentOut = room[:0], true
	}
}

// KeepOut copies the records that are left in the loop's buffer.
func (p *Pipe) KeepOut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lentOut {
		p.out = append([]byte(nil), p.out...)
		p.lentOut = false
	}
}

// Delivered notes that Read of the tls.Conn has returned application data, so that crypto/tls has no part of a handshake message.
func (p *Pipe) Delivered() { p.message = 0 }

// Decrypted counts a record as read from the tls.Conn, and reports whether certainly nothing more can be read.
func (p *Pipe) Decrypted() (empty bool) { return p.records.Decrypted() }

// AllDecrypted notes that Read has returned ErrWouldBlock.
func (p *Pipe) AllDecrypted() { p.records.AllDecrypted() }

// Output returns the number of bytes of records that wait for the peer. Any goroutine.
func (p *Pipe) Output() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.out)
}

// TakeOutput returns the records that wait, and removes them.
func (p *Pipe) TakeOutput() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.out
	p.out = nil
	return out
}

// A Writer writes to descriptors, as the system call does.
type Writer interface {
	Write(fd int, p []byte) (int, error)
}

// Flush writes up to limit bytes of the records to fd, and reports how many bytes were written, and whether none wait any more. When fd takes
// no more for now, err is nil.
func (p *Pipe) Flush(w Writer, fd, limit int) (n int, all bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.out) > 0 && n < limit {
		k, err := w.Write(fd, p.out[:min(len(p.out), limit-n)])
		if err != nil {
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
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

// usualHandshake is the number of bytes of a handshake that are not counted after they were read. A ClientHello has some 2 KB, and a
// client's chain of certificates some more.
const usualHandshake = 8 << 10

// Memory returns the number of bytes that the Pipe takes up in each direction. in includes what crypto/tls keeps of the input: of a
// handshake up to three times its bytes, which are counted above usualHandshake, and of a later handshake message that is not complete up
// to twice its bytes. The loop's own buffers are not counted.
func (p *Pipe) Memory() (in, out int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == stateDetached {
		return 0, 0
	}
	if !p.lent {
		in = cap(p.in)
	}
	if p.state != stateClosed {
		in += 2*int(p.message) + 3*max(0, int(p.shaken)-usualHandshake)
	}
	if !p.lentOut {
		out = cap(p.out)
	}
	return in, out
}

// Detach makes nc the Pipe's connection: what comes is read from nc after the input that the Pipe holds, and records are written to nc.
// Nothing may wait for the peer, and no buffer may be lent. From then on, the tls.Conn may be used as one on nc, and not by the loop. After
// the handshake.
func (p *Pipe) Detach(nc net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nc, p.state = nc, stateDetached
}

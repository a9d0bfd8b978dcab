package tlsio

import (
	"io"
	"net"
	"sync"
	"time"
)

// MaxHandshakeInput is the number of bytes above which Feed reports that a Pipe is full during a handshake.
const MaxHandshakeInput = 64 << 10

// An Owner is the connection that a Pipe serves.
type Owner interface {
	// Changed is called on the handshake's goroutine, without a lock of the Pipe, when there are new records for the peer, or when a full
	// Pipe takes input again. The owner makes its loop look.
	Changed()
	// Now is the time since any moment, the same for all calls. It measures how long a handshake waits.
	Now() time.Duration

	LocalAddr() net.Addr
	RemoteAddr() net.Addr
}

// A Pipe is the net.Conn beneath a tls.Conn. It has three users, one after the other:
//
//   - During the handshake, the handshake's goroutine calls Read and Write through the tls.Conn. Read waits until the loop has called Feed,
//     FeedEOF or Close. Write gathers records, and tells the owner. The loop calls Feed with what it has read, and Flush. Finish ends this.
//   - Then only the loop uses the tls.Conn. Nothing waits: Read returns ErrWouldBlock when it has given out all whole records, and Write
//     gathers records for Flush. The loop calls Lend with its own buffer before it reads from the tls.Conn, and Keep before it uses that
//     buffer for something else; LendOut and KeepOut do the same for records. Close ends this.
//   - Detach hands the Pipe out: the owner of the tls.Conn then uses the net.Conn given to Detach, after the input that the Pipe still holds.
//
// Read gives crypto/tls whole records only, since crypto/tls reserves memory for the largest record when it has seen the beginning of one;
// the rest waits in the Pipe, whose Memory the loop counts. A call of Read gives bytes of one record: crypto/tls keeps its input buffer as
// long as the connection exists, and enlarges it when it holds the beginning of a second record.
//
// After the handshake a Pipe has no memory besides its own, except for input and records that wait. crypto/tls gathers the parts of a
// handshake message, such as a request for new keys, until it is complete. The Pipe counts them as Memory, and what crypto/tls keeps of an
// unusually long handshake. It does not count the buffer for input that crypto/tls keeps: that has room for twice the largest record that
// has come.
//
// The loop calls the methods that a comment does not give to other goroutines.
type Pipe struct {
	owner   Owner
	records Records // of what has come. Loop only
	lent    bool    // in is the loop's buffer. Loop only
	lentOut bool    // out is the loop's buffer. Loop only
	message uint32  // bytes of records that were read since the last that had application data; after the handshake. Loop only

	mu      sync.Mutex // guards what follows; not held in calls of the owner, of the detached connection, and in waits
	state   state
	used    bool     // in was read from, so that it takes up more memory than its length
	eof     bool     // nothing comes after in
	full    bool     // Feed has reported so, and Read has not asked for more since
	ended   bool     // the handshake has ended
	partial uint16   // bytes at the end of in that belong to a record that is not complete
	wait    *wait    // nil when the handshake has ended
	in      []byte   // what has come and was not read
	next    int32    // bytes of the record that in begins with, if a part of it was read; else 0
	shaken  uint32   // bytes that were read during the handshake
	out     []byte   // records for the peer
	err     error    // of the handshake
	nc      net.Conn // of Detach
}

// wait is the state of the waits of Read for input during the handshake. Under the Pipe's mu.
type wait struct {
	more   sync.Cond // in has grown, or state or eof has changed
	stalls bool      // Read waits for the peer
	since  time.Duration
	waited time.Duration // all waits before, together
}

// state says who uses the Pipe.
type state uint8

const (
	stateHandshake   state = iota // the handshake's goroutine and the loop
	stateFailed                   // the loop, for the alert of a handshake that has failed
	stateEstablished              // the loop
	stateDetached                 // the owner of the net.Conn that Detach has handed out
	stateClosed                   // none
)

// String returns the state's name.
func (s state) String() string {
	return [...]string{"handshake", "failed", "established", "detached", "closed"}[s]
}

// ErrWouldBlock is returned by Read after the handshake when no whole record is left. It is a net.Error that is temporary and no timeout:
// crypto/tls keeps its state after a temporary error, and returns any other one again on each later call.
var ErrWouldBlock net.Error = wouldBlockError{}

type wouldBlockError struct{}

func (wouldBlockError) Error() string   { return "tlsio: no more bytes now" }
func (wouldBlockError) Timeout() bool   { return false }
func (wouldBlockError) Temporary() bool { return true }

// New returns a Pipe whose handshake has not ended.
func New(owner Owner) *Pipe {
	p := &Pipe{owner: owner, wait: new(wait)}
	p.wait.more.L = &p.mu
	return p
}

// Read gives crypto/tls what has come. The goroutine of the state's user.
func (p *Pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.readable() == 0 {
		switch {
		case p.state == stateDetached:
			p.in = nil
			p.mu.Unlock()
			n, err := p.nc.Read(b)
			p.mu.Lock()
			return n, err
		case p.state == stateClosed:
			return 0, net.ErrClosed
		case p.eof:
			return 0, io.EOF
		case p.state != stateHandshake:
			return 0, ErrWouldBlock
		}
		p.await()
	}
	if w := p.wait; w != nil && w.stalls {
		w.waited += p.owner.Now() - w.since
		w.stalls = false
	}
	record := p.record()
	n := copy(b, p.in[:record])
	p.in, p.used, p.next = p.in[n:], true, int32(record-n)
	switch p.state {
	case stateHandshake:
		p.shaken += uint32(n)
	case stateEstablished:
		p.message += uint32(n)
	}
	return n, nil
}

// await waits for input, after it has told the owner that there is room. In the handshake, under mu, which is released meanwhile.
func (p *Pipe) await() {
	if p.full {
		p.full = false
		p.mu.Unlock()
		p.owner.Changed()
		p.mu.Lock()
		return
	}
	if w := p.wait; !w.stalls {
		w.stalls, w.since = true, p.owner.Now()
	}
	p.wait.more.Wait()
}

// wake wakes Read, if it waits. Under mu.
func (p *Pipe) wake() {
	if p.wait != nil {
		p.wait.more.Broadcast()
	}
}

// readable returns the number of bytes that crypto/tls may read: at the end of the stream and after Detach all, otherwise those of whole
// records. Under mu.
func (p *Pipe) readable() int {
	if p.eof || p.state == stateDetached {
		return len(p.in)
	}
	return max(0, len(p.in)-int(p.partial))
}

// record returns how many of the readable bytes, of which there are some, belong to the record that in begins with, or to the rest of it.
// Bytes that cannot become a record are all given to crypto/tls, which reports the error. Under mu.
func (p *Pipe) record() int {
	n := p.readable()
	switch {
	case p.next > 0:
		return min(n, int(p.next))
	case n < headerSize || !isRecord(p.in):
		return n
	}
	return min(n, headerSize+int(p.in[3])<<8+int(p.in[4]))
}

// Write takes records from crypto/tls. The goroutine of the state's user.
func (p *Pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	switch p.state {
	case stateClosed:
		p.mu.Unlock()
		return 0, net.ErrClosed
	case stateDetached:
		p.mu.Unlock()
		return p.nc.Write(b)
	}
	p.out = append(p.out, b...)
	tell := p.state == stateHandshake
	p.mu.Unlock()
	if tell {
		p.owner.Changed()
	}
	return len(b), nil
}

// Close drops what the Pipe holds. A handshake that still runs fails with net.ErrClosed. After Detach it closes the net.Conn. Any goroutine.
func (p *Pipe) Close() error {
	p.mu.Lock()
	if p.state == stateDetached {
		p.mu.Unlock()
		return p.nc.Close()
	}
	p.state = stateClosed
	p.in, p.out, p.partial, p.next = nil, nil, 0, 0
	p.wake()
	p.mu.Unlock()
	return nil
}

// LocalAddr returns the owner's address, after Detach that of the net.Conn. Any goroutine.
func (p *Pipe) LocalAddr() net.Addr {
	if nc := p.detached(); nc != nil {
		return nc.LocalAddr()
	}
	return p.owner.LocalAddr()
}

// RemoteAddr returns the address of the owner's peer, after Detach that of the net.Conn. Any goroutine.
func (p *Pipe) RemoteAddr() net.Addr {
	if nc := p.detached(); nc != nil {
		return nc.RemoteAddr()
	}
	return p.owner.RemoteAddr()
}

// SetDeadline does nothing before Detach: the loop has its own deadlines, and crypto/tls sets one when it sends close_notify. Afterwards it
// is the net.Conn's. Any goroutine.
func (p *Pipe) SetDeadline(t time.Time) error {
	if nc := p.detached(); nc != nil {
		return nc.SetDeadline(t)
	}
	return nil
}

// SetReadDeadline is like SetDeadline. Any goroutine.
func (p *Pipe) SetReadDeadline(t time.Time) error {
	if nc := p.detached(); nc != nil {
		return nc.SetReadDeadline(t)
	}
	return nil
}

// SetWriteDeadline is like SetDeadline. Any goroutine.
func (p *Pipe) SetWriteDeadline(t time.Time) error {
	if nc := p.detached(); nc != nil {
		return nc.SetWriteDeadline(t)
	}
	return nil
}

// detached returns the net.Conn of Detach, or nil before.
func (p *Pipe) detached() net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nc
}

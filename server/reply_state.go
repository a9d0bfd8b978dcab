package server

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/evmq/evmq/internal/outq"
)

// replyBuffer is how much of a reply is gathered before it goes to the connection.
const replyBuffer = 16 << 10

// replyState is what the Replies of an input share, one after the other. Each has a number of its own, so that a Reply that is kept
// cannot touch the next one's.
type replyState struct {
	// number is odd while a reply is open, and grows with each begin and end; it is changed under mu.
	number atomic.Uint64

	mu       sync.Mutex // guards what follows; c and order are fixed while a reply is open. Locked before the connection's
	c        *Conn
	buf      []byte // gathered: not yet the connection's
	err      error  // of a Write, Flush and so on; everything after it fails too
	order    uint64 // Concurrent: the request's place among those of its connection
	answered bool   // Concurrent: has ended, and waits for those before it
	counted  int    // bytes of buf counted in Server.buffered
	waits    bool   // Concurrent: its connection holds MaxOutput, so that it waits for its turn
	refused  bool   // is BusyText; no worker has answered
}

// beginReply begins the reply to the next request of in.
func (in *input) beginReply() Reply {
	r := &in.reply
	r.mu.Lock() // a Reply that was kept may look
	defer r.mu.Unlock()
	r.refused = false
	return Reply{r.c, in, r.number.Add(1)}
}

// smallReply is how much of a reply a worker may gather without counting it: no more than it takes to be a worker.
const smallReply = 2 << 10

// gather adds p to what is gathered. Under mu.
func (r *replyState) gather(p []byte) {
	r.buf = append(r.buf, p...)
	if n := cap(r.buf); n > smallReply && n != r.counted {
		r.count(n)
	}
}

// count makes n the bytes that buf is counted with. Under mu, or when the reply has ended.
func (r *replyState) count(n int) {
	if n != r.counted {
		r.c.loop.srv.hold(n - r.counted)
		r.counted = n
	}
}

// isOpen reports whether the reply has begun and not ended. Under mu.
func (r *replyState) isOpen() bool { return r.number.Load()%2 == 1 }

// end ends the reply, if it has begun. Under mu.
func (r *replyState) end() {
	if r.isOpen() {
		r.number.Add(1)
	}
}

// A piece is what is added to the output in one go. The parts come in the order of the fields; those that are nil are left out.
type piece struct {
	copied []byte
	owned  []byte // with done as its release
	file   *outq.File
	done   outq.Done
}

// sendGathered is send of what is gathered, with p behind it. Under r.mu.
func (r *replyState) sendGathered(p piece, hold bool) error {
	p.copied = r.buf
	if err := r.send(p, hold); err != nil {
		return err
	}
	r.buf = r.buf[:0]
	return nil
}

// writeLong gives the connection what is gathered, and p in pieces. Under r.mu.
func (r *replyState) writeLong(p []byte) (n int, err error) {
	if err = r.sendGathered(piece{}, true); err != nil {
		return 0, err
	}
	for len(p)-n > replyBuffer {
		part := p[n:min(n+4*replyBuffer, len(p))]
		if err = r.send(piece{copied: part}, true); err != nil {
			return n, err
		}
		n += len(part)
	}
	r.gather(p[n:])
	return len(p), nil
}

// send waits for room and appends p to the output. With hold, what others write from now on waits for the rest of the
// reply. Under r.mu, not c.mu.
func (r *replyState) send(p piece, hold bool) error {
	c := r.c
	for {
		c.mu.Lock()
		if c.state.isDead() {
			r.err = c.refusal()
			c.mu.Unlock()
			return r.err
		}
		x := c.extra()
		if r.isFirst(x) && c.ahead() < c.loop.srv.cfg.MaxOutput && (p.file == nil || c.hasRoomForFile()) {
			if r.putPiece(p); c.state.isDead() {
				r.err = c.refusal()
				c.unlockAndTell()
				return r.err
			}
			if x.floor = nil; hold {
				x.floor = r
			} else {
				c.spliceAside()
			}
			c.unlockAndTell()
			return nil
		}
		if x.room == nil {
			x.room = make(chan struct{})
		}
		room := x.room
		c.mu.Unlock()
		select {
		case <-room: // is closed with the connection, too
		case <-c.loop.srv.cutCtx.Done(): // which the loop may not come to see
			r.err = fmt.Errorf("%w (%w)", ErrClosed, ErrServerClosed)
			return r.err
		}
	}
}

// hasRoomForFile reports whether one more file may wait. Files that wait behind the reply do not count: they wait for its end. Under mu.
func (c *Conn) hasRoomForFile() bool {
	s := c.loop.srv
	return s.files.Load() < s.cfg.maxFiles || c.out == nil || c.out.Files() == 0
}

// putPiece appends the parts of p to what goes to the kernel. Nothing of a part is taken if it ends the connection. Under c.mu; the
// caller tells the loop.
func (r *replyState) putPiece(p piece) {
	c := r.c
	r.put(p.copied)
	before := c.outputMemory()
	switch {
	case p.file != nil && r.mayHold(outq.FileCost):
		c.appendFile(c.output(), p.file)
	case p.file == nil && p.done != nil && r.mayHold(len(p.owned)+outq.SegmentCost):
		c.output().AppendOwned(p.owned, p.done)
	}
	c.countOutput(before)
}

// put appends p to what goes to the kernel. Under c.mu; the caller tells the loop.
func (r *replyState) put(p []byte) {
	if len(p) > 0 && r.mayHold(len(p)) {
		before := r.c.outputMemory()
		r.c.output().Append(p)
		r.c.countOutput(before)
	}
}

// mayHold reports whether the output takes n more bytes, overhead included. When the whole server holds too much, it ends the connection
// instead, but for a small answer to a peer that has taken all before. Under c.mu; the caller tells the loop.
func (r *replyState) mayHold(n int) bool {
	c := r.c
	s := c.loop.srv
	if !c.state.isDead() && s.isFull() && (c.held() > 0 || n > replyBuffer) {
		c.state = connClosed
		c.setReason(s.overloaded())
		c.commands |= cmdLook
	}
	return !c.state.isDead()
}

// spliceAside lets out what was written while a reply was sent in pieces. Under mu.
func (c *Conn) spliceAside() {
	if x := c.ext; x != nil && x.aside != nil {
		before := c.outputMemory()
		c.output().Splice(x.aside)
		x.aside.Free()
		x.aside = nil
		c.countOutput(before)
	}
}

// commit gives the reply to the connection when another request of it follows at once. It reports whether to go on.
func (r *replyState) commit() bool {
	c := r.c
	r.mu.Lock()
	defer r.mu.Unlock()
	c.mu.Lock()
	if c.state == connClosed {
		c.mu.Unlock()
		return false
	}
	r.finishLocked()
	goOn := c.held() < c.loop.srv.cfg.HighWater
	c.unlockAndTell()
	return goOn
}

// finishLocked makes what was gathered the connection's, and lets others write behind it. Under c.mu, and r.mu if the reply is open.
func (r *replyState) finishLocked() {
	c := r.c
	r.count(0)
	r.put(r.buf)
	r.buf = r.buf[:0]
	r.end()
	if !r.refused {
		c.reqs++
		c.loop.traffic.requests.Add(1)
	}
	if x := c.ext; x != nil && x.floor == r {
		x.floor = nil
		c.spliceAside()
	}
}

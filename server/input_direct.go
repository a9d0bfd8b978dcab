package server

import "github.com/evmq/evmq/event"

// A request that has consumed all its input reads the socket itself, without the loop and its buffer, as long as the kernel has bytes. Only
// then does it wait for the loop. So a long body costs what it costs a goroutine that reads its own connection. The lock of the connection
// is held meanwhile: its descriptor is not closed before the state has changed under the lock. It is for connections without layers, whose
// bytes are those of the socket.

// minDirect is the length from which on the argument of Input.Read is filled by the kernel. For shorter ones, such as the 8 KB of io.Discard, one
// long read and the copies cost less than a system call for each.
const minDirect = 16 << 10

// readNow reads the socket for the request if all its input is consumed or taken, and nothing keeps the loop from reading. It reads into p if
// nothing is unread and p is long, and returns the number of bytes then; otherwise into taken. It reports whether it has read anything. At the
// end of the stream, and after an error, the loop reads. Under the connection's mu. Any goroutine.
func (in *input) readNow(p []byte) (n int, ok bool) {
	c, s := in.reply.c, in.stream
	if !in.request.direct || s.loopReads || s.ended || s.failed != nil || len(s.ahead) > 0 || c.state > connHalf || c.pauseRequested() ||
		c.outputBytes() > c.loop.srv.cfg.LowWater {
		return 0, false
	}
	in.copying.Lock()
	defer in.copying.Unlock()
	into := p[:min(len(p), readSize)]
	if in.unread() > 0 || len(into) < minDirect {
		if cap(s.taken) < readSize && c.loop.srv.wouldExceed(readSize) { // then the loop reads, and ends the connection if it has to
			return 0, false
		}
		into, p = in.spare(), nil
	}
	if len(into) == 0 {
		return 0, false
	}
	n, err := c.loop.srv.calls.Read(c.loopPart().ev.FD(), into)
	if err != nil && !wouldBlock(err) {
		s.failed = err
	}
	if err != nil || n == 0 {
		in.keepLittle()
		s.count(c)
		return 0, false
	}
	c.nread += uint64(n)
	c.loop.traffic.read.Add(uint64(n))
	s.isDirect = true
	if p != nil {
		return n, true
	}
	s.taken = s.taken[:len(s.taken)+n]
	return 0, true
}

// spare moves all unread bytes to the start of taken, and returns the memory behind them. Under mu, when ahead is empty.
func (in *input) spare() []byte {
	s := in.stream
	in.moveRest()
	if cap(s.taken) < readSize {
		s.taken = append(takeLarge()[:0], s.taken...)
	}
	s.taken = s.taken[:copy(s.taken, s.taken[s.pos:])]
	s.pos = 0
	return s.taken[len(s.taken):max(len(s.taken), readSize)]
}

// keepLittle gives a large buffer back that holds little, since the request may wait for a slow client for long. Under mu.
func (in *input) keepLittle() {
	s := in.stream
	switch {
	case !isLarge(s.taken) || in.unread() > maxKept:
		return
	case in.unread() == 0:
		giveLarge(s.taken)
		s.taken = nil
	default:
		large := s.taken
		s.taken = append([]byte(nil), large[s.pos:]...)
		giveLarge(large)
	}
	s.pos = 0
}

// leavesToRequest reports whether the loop does not read now, since the request reads the socket itself when it wants more. Under mu.
func (c *loopConn) leavesToRequest(in *input) bool {
	s := in.stream
	if !s.isDirect || s.need > 0 || s.failed != nil {
		return false
	}
	return !in.request.cancels || c.peerHalf == peerSends && c.loop.ev.Features().Has(event.FeatureClosed) // otherwise the end would not be noticed
}

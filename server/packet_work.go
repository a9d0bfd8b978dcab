package server

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"

	"github.com/evmq/evmq/internal/workpool"
)

// DispatchPackets returns a handler that calls fn for each datagram on a worker, where it may block. Several datagrams are handled at a
// time, in no order. A datagram for which there is no room, or whose socket is closed meanwhile, is discarded and counted; see
// PacketConn.Dispatch. If fn is nil, so is the result. Any goroutine.
func DispatchPackets(fn PacketHandler) PacketHandler {
	if fn == nil {
		return nil // the call that uses the handler fails
	}
	return func(pc *PacketConn, p []byte, from netip.AddrPort) {
		if errors.Is(pc.dispatch(fn, p, from), ErrClosed) {
			pc.dropped.Add(1) // it was received before the socket was closed
		}
	}
}

// Dispatch makes a worker call fn with a copy of p. It is for handlers that answer some datagrams on the loop. It never waits.
// Datagrams may use half of Server.Queue, so that a flood of them leaves room for the requests of connections.
//
// Errors: ErrFull above that half, and ErrServerFull above MaxBuffered, both of which count the datagram as dropped; ErrClosed; ErrInvalid
// if fn is nil. After an error fn is not called. After success it is called, unless the server's Close, or the end of the context of a
// Shutdown, comes first. Any goroutine.
func (pc *PacketConn) Dispatch(fn PacketHandler, p []byte, from netip.AddrPort) error {
	err := fmt.Errorf("%w: PacketHandler is nil", ErrInvalid)
	if fn != nil {
		err = pc.dispatch(fn, p, from)
	}
	if err != nil {
		return fmt.Errorf("dispatch %d bytes from %v: %w", len(p), from, err)
	}
	return nil
}

func (pc *PacketConn) dispatch(fn PacketHandler, p []byte, from netip.AddrPort) error {
	s := pc.srv
	s.jobs.enter(math.MaxInt) // before stopped is read: Shutdown sets it, and then waits for the jobs that have entered
	err := ErrClosed
	if !pc.stopped.Load() {
		err = ErrServerFull
		j := packetJobs.Get().(*packetJob)
		j.pc, j.fn, j.from = pc, fn, from
		j.p = append(j.p[:0], p...)
		size := j.memory()
		if s.buffered.Add(int64(size)) <= s.cfg.MaxBuffered {
			err = s.pool.Offer(Job{packet: j})
			if err == nil {
				return nil
			}
			err = poolError(err)
		}
		j.recycle()
		s.addBuffered(-size)
	}
	s.jobs.leave()
	if errors.Is(err, ErrFull) {
		pc.dropped.Add(1)
	}
	return err
}

// poolError returns the error of this package for an error of the pool.
func poolError(err error) error {
	if errors.Is(err, workpool.ErrFull) {
		return ErrFull
	}
	return ErrClosed
}

// packetJob is a datagram for a worker.
type packetJob struct {
	pc   *PacketConn
	fn   PacketHandler
	p    []byte
	from netip.AddrPort
}

var packetJobs = sync.Pool{New: func() any { return new(packetJob) }}

// jobOverhead is the memory of a packetJob without its bytes, as it is counted.
const jobOverhead = 128

// memory returns the memory of the job.
func (j *packetJob) memory() int { return cap(j.p) + jobOverhead }

// run calls the handler, on a worker.
func (j *packetJob) run() {
	s, size := j.pc.srv, j.memory()
	defer func() {
		j.recycle()
		s.addBuffered(-size)
		s.jobs.leave()
	}()
	if s.baseCtx.Err() != nil {
		j.pc.dropped.Add(1)
		return
	}
	j.pc.call(j.fn, j.p, j.from)
}

// recycle puts the job into the pool.
func (j *packetJob) recycle() {
	if cap(j.p) > maxKept {
		j.p = nil
	}
	j.pc, j.fn = nil, nil
	packetJobs.Put(j)
}

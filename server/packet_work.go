package server

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"

	"github.com/evmq/evmq/internal/workpool"
)

// DispatchPackets makes a handler that has fn handle each datagram on a worker, where it may block; several at a time, so that
// they may overtake each other. A datagram that finds no room, or comes when the socket is closed, is dropped and counted; see Dispatch.
// Any goroutine.
func DispatchPackets(fn PacketHandler) PacketHandler {
	if fn == nil {
		return nil // is found where the handler is used
	}
	return func(pc *PacketConn, p []byte, from netip.AddrPort) {
		if errors.Is(pc.dispatch(fn, p, from), ErrClosed) {
			pc.dropped.Add(1) // it was received before, and no one else is told of its end
		}
	}
}

// Dispatch has fn called on a worker with a copy of p, for handlers that answer some datagrams on the loop. It never waits. Datagrams
// have half of Queue, so that requests of connections find room beside a flood of them. Errors: ErrFull above that, ErrServerFull above MaxBuffered, which
// counts the datagram as dropped; ErrClosed; ErrInvalid if fn is nil; fn is not called then. Otherwise it is, unless the server's
// Close or Shutdown's deadline comes before. Any goroutine.
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
	s.jobs.enter(math.MaxInt) // before the look at stopped: Shutdown stops, and then waits for what has entered
	err := ErrClosed
	if !pc.stopped.Load() {
		err = ErrServerFull
		j := packetJobs.Get().(*packetJob)
		j.pc, j.fn, j.from = pc, fn, from
		j.p = append(j.p[:0], p...)
		size := j.memory()
		if s.buffered.Add(int64(size)) <= s.cfg.MaxBuffered {
			err = s.pool.Offer(j)
			if err == nil {
				return nil
			}
			err = ofPool(err)
		}
		j.recycle()
		s.hold(-size)
	}
	s.jobs.leave()
	if errors.Is(err, ErrFull) {
		pc.dropped.Add(1)
	}
	return err
}

// ofPool returns the server's error for one of the pool.
func ofPool(err error) error {
	if errors.Is(err, workpool.ErrFull) {
		return ErrFull
	}
	return ErrClosed
}

// packetJob is a datagram on its way to a worker.
type packetJob struct {
	pc   *PacketConn
	fn   PacketHandler
	p    []byte
	from netip.AddrPort
}

var packetJobs = sync.Pool{New: func() any { return new(packetJob) }}

// jobOverhead is what a job takes up beside its bytes.
const jobOverhead = 128

// memory is what the job takes up.
func (j *packetJob) memory() int { return cap(j.p) + jobOverhead }

// Run calls the handler, on a worker.
func (j *packetJob) Run() {
	s, size := j.pc.srv, j.memory()
	defer func() {
		j.recycle()
		s.hold(-size)
		s.jobs.leave()
	}()
	if s.cutCtx.Err() != nil {
		j.pc.dropped.Add(1)
		return
	}
	j.pc.call(j.fn, j.p, j.from)
}

func (j *packetJob) recycle() {
	if cap(j.p) > maxKept {
		j.p = nil
	}
	j.pc, j.fn = nil, nil
	packetJobs.Put(j)
}

//go:build linux || darwin || freebsd

package socktest

import (
	"hash/fnv"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
)

// Rates are the probabilities of each fault, between 0 and 1. The probabilities of the faults of one call are added; faults beyond a sum of 1 do not
// occur.
type Rates struct {
	Again       float64 // EAGAIN: Read, Write, Writev, SendFile, Accept, SendTo, RecvFrom, SendMsg, RecvMsg
	Interrupted float64 // EINTR, for the same calls
	Short       float64 // a few bytes only: Read, Write, Writev, SendFile
	Reset       float64 // ECONNRESET: Read, Write, Writev, SendFile
	Pipe        float64 // EPIPE: Write, Writev, SendFile
	Full        float64 // EMFILE or ENFILE: Accept
	Aborted     float64 // ECONNABORTED: Accept
}

// Random injects faults at rates. The fault of the n-th call of a name on a descriptor number depends only on seed and
// these three, and not on the order of the goroutines.
func Random(seed uint64, inner sock.Calls, rates Rates) *Faulty {
	return New(inner, func(c Call) Fault { return rates.fault(c, newDice(seed, c)) })
}

func (r Rates) fault(c Call, d dice) Fault {
	left := d.chance()
	meets := func(rate float64) bool {
		left -= rate
		return left < 0
	}
	switch c.Name {
	case Read, Write, Writev, SendFile, Accept, SendTo, RecvFrom, SendMsg, RecvMsg:
		if meets(r.Again) {
			return Fault{Err: unix.EAGAIN}
		}
		if meets(r.Interrupted) {
			return Fault{Err: unix.EINTR}
		}
	}
	switch c.Name {
	case Read, Write, Writev, SendFile:
		if meets(r.Short) {
			return Fault{Limit: 1 + int(d.next()%7)}
		}
		if meets(r.Reset) {
			return Fault{Err: unix.ECONNRESET}
		}
		if c.Name != Read && meets(r.Pipe) {
			return Fault{Err: unix.EPIPE}
		}
	case Accept:
		if meets(r.Full / 2) {
			return Fault{Err: unix.EMFILE}
		}
		if meets(r.Full / 2) {
			return Fault{Err: unix.ENFILE}
		}
		if meets(r.Aborted) {
			return Fault{Err: unix.ECONNABORTED}
		}
	}
	return Fault{}
}

// dice are the random numbers of one call, from SplitMix64, which may start with any value.
type dice struct{ state uint64 }

func newDice(seed uint64, c Call) dice {
	h := fnv.New64a()
	_, _ = h.Write([]byte(c.Name)) // never fails
	d := dice{seed}
	for _, v := range [...]uint64{h.Sum64(), uint64(c.FD), c.Number} {
		d.state = d.next() ^ v
	}
	return d
}

func (d *dice) next() uint64 {
	d.state += 0x9e3779b97f4a7c15
	z := d.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// chance returns a number in [0, 1).
func (d *dice) chance() float64 { return float64(d.next()>>11) / (1 << 53) }

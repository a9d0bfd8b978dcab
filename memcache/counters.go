package memcache

import "sync/atomic"

// counter is one of the numbers that stats shows. What concerns an item that is there the store counts, by its size: store.Op.
type counter uint8

const (
	cmdFlush counter = iota
	cmdMeta
	getMisses
	deleteMisses
	incrMisses
	decrMisses
	casMisses
	touchMisses
	storeTooLarge
	storeNoMemory
	authCmds
	authErrors
	crawlerReclaimed
	connYields
	newSessions
	bytesRead
	bytesWritten
	numCounters
)

// counters are the counters of a worker. Only the worker adds to them; any goroutine may read them.
type counters [numCounters]atomic.Uint64

func (c *counters) add(which counter, n uint64) { c[which].Add(n) }

// sum is a copy that can be calculated with.
type sum [numCounters]uint64

func (s *sum) add(c *counters) {
	for i := range c {
		s[i] += c[i].Load()
	}
}

package memcache

import "sync/atomic"

// counter is an index of counters. Operations on an item that was found are counted by the store, for each size class: see store.Op.
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

// counters are counts of requests. Any goroutine.
type counters [numCounters]atomic.Uint64

func (c *counters) add(which counter, n uint64) { c[which].Add(n) }

// sum is a copy of counters, or a sum of them.
type sum [numCounters]uint64

func (s *sum) add(c *counters) {
	for i := range c {
		s[i] += c[i].Load()
	}
}

package store_test

import (
	"container/list"
	"math"
	"math/bits"
)

// candidate is a policy that decision 9 compares: S3-FIFO, or greedy dual by size and frequency, with queues of new and of protected items for each
// of several sizes. Its ghosts are exact: it records as many evicted new items as there are items.
type candidate struct {
	exponent  float64 // of the size; 0: sizes do not count
	share     int     // per cent of the bytes that new items may have; 0: new and protected ones are compared by priority
	frequency float64 // the most that an item can have
	memory    int
	bytes     [2]int
	level     [2]float64 // inflation, of new and of protected items
	queues    [2][16 * 4]*list.List
	items     map[uint64]*list.Element
	ghosts    map[uint64]bool
	order     *list.List // of the ghosts
}

type candidateItem struct {
	key                 uint64
	size, kind          int
	class               int
	frequency, priority float64
	used                bool
}

func newCandidate(memory int, exponent float64, share int, frequency float64) *candidate {
	c := &candidate{exponent: exponent, share: share, frequency: frequency, memory: memory,
		items: make(map[uint64]*list.Element), ghosts: make(map[uint64]bool), order: list.New()}
	for k := range c.queues {
		for i := range c.queues[k] {
			c.queues[k][i] = list.New()
		}
	}
	return c
}

func (c *candidate) request(key uint64, size int) bool {
	if e, ok := c.items[key]; ok {
		e.Value.(*candidateItem).used = true
		return true
	}
	for c.bytes[0]+c.bytes[1]+size > c.memory {
		c.evict()
	}
	e := bits.Len(uint(size))
	it := &candidateItem{key: key, size: size, class: min(max(e-6, 0)*4+size>>max(0, e-3)&3, 63), frequency: 0.25}
	if c.share > 0 {
		it.frequency = 1
	}
	if c.ghosts[key] {
		delete(c.ghosts, key)
		it.kind, it.frequency = 1, 1
	}
	c.push(it)
	return false
}

func (c *candidate) push(it *candidateItem) {
	it.priority = c.level[it.kind] + it.frequency*math.Pow(float64(it.size), -c.exponent)
	c.items[it.key] = c.queues[it.kind][it.class].PushFront(it)
	c.bytes[it.kind] += it.size
}

// next returns the item with the least priority at the end of a queue of new or protected items, or nil.
func (c *candidate) next(kind int) *candidateItem {
	var best *candidateItem
	for _, q := range c.queues[kind] {
		if e := q.Back(); e != nil && (best == nil || e.Value.(*candidateItem).priority < best.priority) {
			best = e.Value.(*candidateItem)
		}
	}
	return best
}

// choose returns the item that is evicted next, unless it has been used.
func (c *candidate) choose() *candidateItem {
	added, protected := c.next(0), c.next(1)
	switch {
	case protected == nil:
		return added
	case added == nil:
		return protected
	case c.share > 0 && c.bytes[0]*100 > (c.bytes[0]+c.bytes[1])*c.share, c.share == 0 && added.priority < protected.priority:
		return added
	}
	return protected
}

func (c *candidate) evict() {
	for {
		it := c.choose()
		if c.level[it.kind] = max(c.level[it.kind], it.priority); c.share == 0 {
			c.level[1-it.kind] = c.level[it.kind]
		}
		c.queues[it.kind][it.class].Remove(c.items[it.key])
		c.bytes[it.kind] -= it.size
		if !it.used {
			delete(c.items, it.key)
			if it.kind == 0 {
				c.remember(it.key)
			}
			return
		}
		it.frequency = min(it.frequency+1, c.frequency)
		if it.kind == 0 {
			it.frequency = 1
		}
		it.kind, it.used = 1, false
		c.push(it)
	}
}

func (c *candidate) remember(key uint64) {
	c.ghosts[key] = true
	c.order.PushFront(key)
	for c.order.Len() > len(c.items) {
		delete(c.ghosts, c.order.Remove(c.order.Back()).(uint64))
	}
}

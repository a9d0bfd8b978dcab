package store

import (
	"errors"
	"fmt"
)

// Check checks the structure of a store. The error describes the first fault. No other goroutine may use the store.
func (s *Store) Check() error {
	total, over := storeBytes, false
	for i := range s.shards {
		if err := s.shards[i].check(); err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
		total += s.shards[i].memory()
		over = over || s.shards[i].over
	}
	if limit := s.memory.Load(); total > limit && !over {
		return fmt.Errorf("%d bytes of memory, the limit is %d", total, limit)
	}
	return nil
}

// Steps returns the number of steps of operations since the last call.
func (s *Store) Steps() int {
	n := 0
	for i := range s.shards {
		n += s.shards[i].steps
		s.shards[i].steps = 0
	}
	return n
}

// Chunks returns the number of chunks.
func (s *Store) Chunks() int {
	n := 0
	for i := range s.shards {
		n += s.shards[i].chunks
	}
	return n
}

// Constants for tests.
const (
	LargeMin             = largeMin
	PageBytes            = pageBytes
	HeadSize             = headSize
	MaxReinserts         = maxReinserts
	ReinsertsPerEviction = reinsertsPerEviction
)

func (s *shard) check() error {
	items, err := s.checkBlocks()
	return errors.Join(err, s.checkLists(), s.checkIndex(items), s.checkQueues(items), s.checkWheel(items), s.checkPages(),
		s.checkValues(items), s.checkClasses(items), s.checkMemory())
}

func (s *shard) checkMemory() error {
	if s.busy {
		return errors.New("a change has not ended")
	}
	if s.pin != 0 {
		return fmt.Errorf("item %x is still pinned", s.pin)
	}
	if s.memory() > s.limit && (s.held == 0 || !s.over) {
		return fmt.Errorf("%d bytes of memory, the limit is %d", s.memory(), s.limit)
	}
	return nil
}

// checkBlocks walks the chunks and returns the items.
func (s *shard) checkBlocks() (map[ref]bool, error) {
	items := make(map[ref]bool)
	chunks, free := 0, 0
	for i, slot := range s.slots {
		if slot.data == nil {
			if i > 0 && i < int(s.hint) {
				return nil, fmt.Errorf("slot %d is empty, before the hint %d", i, s.hint)
			}
			continue
		}
		if i >= int(s.top) {
			return nil, fmt.Errorf("chunk %d is above the top %d", i, s.top)
		}
		chunks++
		if slot.paged {
			continue
		}
		end, here := ref(i+1)<<chunkBits, 0
		prev, wasFree := uint16(0), false
		for r := ref(i << chunkBits); r < end; {
			t := s.tag(r)
			if t.size == 0 || r+ref(t.size) > end || t.prev != prev {
				return nil, fmt.Errorf("block %x has %d units behind %d, which are %d", r, t.size, t.prev, prev)
			}
			if t.state == 0 {
				here += int(t.size)
				if wasFree {
					return nil, fmt.Errorf("block %x and the one before it are free", r)
				}
			} else {
				items[r] = true
			}
			prev, wasFree = t.size, t.state == 0
			r += ref(t.size)
		}
		if here != int(slot.free) {
			return nil, fmt.Errorf("%d units are free in chunk %d, counted %d", here, i, slot.free)
		}
		free += here
	}
	if chunks != s.chunks || free != s.free {
		return nil, fmt.Errorf("%d chunks, %d units free; counted %d and %d", chunks, free, s.chunks, s.free)
	}
	return items, nil
}

// checkLists checks that each free block that is long enough is in its list once.
func (s *shard) checkLists() error {
	units := 0
	for i, r := range s.lists.first {
		if some := s.lists.some[i/64]>>(i%64)&1 == 1; some != (r != 0) {
			return fmt.Errorf("list %d begins with %x, its bit is %v", i, r, some)
		}
		for prev := ref(0); r != 0; prev, r = r, s.hole(r).next {
			h := s.hole(r)
			if h.state != 0 || listOf(h.size) != i || h.prev != prev || h.size < minBlock {
				return fmt.Errorf("block %x of %d units in list %d, state %x", r, h.size, i, h.state)
			}
			units += int(h.size)
		}
	}
	for i := range s.slots {
		if s.slots[i].data == nil || s.slots[i].paged {
			continue
		}
		for r := ref(i << chunkBits); r != 0; r = s.after(r) {
			if t := s.tag(r); t.state == 0 && t.size < minBlock {
				units += int(t.size)
			}
		}
	}
	if units != s.free {
		return fmt.Errorf("%d units in the lists or too short for them, %d are free", units, s.free)
	}
	return nil
}

func (s *shard) checkIndex(items map[ref]bool) error {
	x, seen := &s.index, 0
	if x.buckets <= x.mask>>1 || x.buckets-1 > x.mask || len(x.segments) != int(x.buckets+segmentLen-1)>>segmentBits {
		return fmt.Errorf("%d buckets, mask %x, %d segments", x.buckets, x.mask, len(x.segments))
	}
	for i := range x.buckets {
		if b := x.at(i); b.first == 0 && b.filter != 0 {
			return fmt.Errorf("bucket %d is empty and has the filter %x", i, b.filter)
		}
		for r := x.at(i).first; r != 0; r = s.item(r).next {
			if seen++; seen > len(items) || !items[r] || x.number(s.item(r).hash) != i || x.at(i).filter&mark(s.item(r).hash) == 0 {
				return fmt.Errorf("bucket %d has %x, of hash %x", i, r, s.item(r).hash)
			}
		}
	}
	if seen != len(items) || seen != int(x.items) {
		return fmt.Errorf("%d items in the index, counted %d, there are %d", seen, x.items, len(items))
	}
	return nil
}

// checkQueues checks that each item is in the queue of its kind and class, and that the priority of the oldest one is that of its stamp.
func (s *shard) checkQueues(items map[ref]bool) error {
	seen := 0
	for k := range s.queues {
		for c := range s.queues[k] {
			q := &s.queues[k][c]
			newer := ref(0)
			for r := q.newest; r != 0; newer, r = r, s.item(r).older {
				it := s.item(r)
				kind, class := s.place(r)
				if seen++; seen > len(items) || !items[r] || it.newer != newer || kind != k || class != c {
					return fmt.Errorf("queue %d of class %d has %x of class %d behind %x", k, c, r, class, newer)
				}
			}
			if filled := s.filled[k]>>c&1 == 1; q.oldest != newer || filled != (newer != 0) {
				return fmt.Errorf("queue %d of class %d ends with %x, noted is %x, filled: %v", k, c, newer, q.oldest, filled)
			}
			if q.oldest == 0 {
				continue
			}
			priority := s.priority[k][c]
			if s.setPriority(k, c); s.priority[k][c] != priority {
				return fmt.Errorf("the oldest of queue %d of class %d has priority %x, stored is %x, the inflation is %x", k, c, s.priority[k][c], priority, s.inflation)
			}
		}
	}
	if seen != len(items) {
		return fmt.Errorf("%d items in the queues, there are %d", seen, len(items))
	}
	return nil
}

func (s *shard) checkWheel(items map[ref]bool) error {
	w, seen, expiring := &s.wheel, 0, 0
	for r := range items {
		if s.item(r).expires != 0 {
			expiring++
		}
	}
	for level := range w.first {
		for slot, r := range w.first[level] {
			if some := w.some[level]>>slot&1 == 1; some != (r != 0) {
				return fmt.Errorf("slot %d/%d begins with %x, its bit is %v", level, slot, r, some)
			}
			for earlier := ref(0); r != 0; earlier, r = r, s.item(r).later {
				it := s.item(r)
				if seen++; seen > expiring || !items[r] || it.earlier != earlier || it.expires < w.second {
					return fmt.Errorf("slot %d/%d has %x behind %x", level, slot, r, earlier)
				}
				if digit(it.expires, level) != uint32(slot) || uint64(it.expires)>>(level*digitBits+digitBits) != uint64(w.second)>>(level*digitBits+digitBits) {
					return fmt.Errorf("slot %d/%d has an item that expires at %d, at %d", level, slot, it.expires, w.second)
				}
			}
		}
	}
	if seen != expiring {
		return fmt.Errorf("%d items in the wheel, %d expire", seen, expiring)
	}
	return nil
}

func (s *shard) checkClasses(items map[ref]bool) error {
	var want [classCount]Class
	for r := range items {
		size := s.size(s.item(r))
		c := &want[classOf(size)]
		c.Items++
		c.Bytes += size
		if s.item(r).state&fetched == 0 {
			c.Unfetched++
		}
	}
	for i := range want {
		c := &s.classes[i]
		got, f := tally{c.Items, c.Bytes, c.Unfetched}, s.flushed.classes[i]
		if s.flushed.second != 0 {
			if got != (tally{}) {
				return fmt.Errorf("class %d has %+v beside what was flushed", i, got)
			}
			got = f
		} else if f != (tally{}) {
			return fmt.Errorf("class %d has %+v of no flush", i, f)
		}
		if n := (tally{want[i].Items, want[i].Bytes, want[i].Unfetched}); got != n {
			return fmt.Errorf("class %d has %+v, counted %+v", i, n, got)
		}
	}
	return nil
}

package store_test

import "container/list"

// A policy is a cache whose hit ratio is compared. A request reports whether it has a key, and stores the key if not.
type policy interface {
	request(key uint64, size int) bool
}

// lru evicts the least recently used item. It has no overhead.
type lru struct {
	memory int
	order  *list.List
	items  map[uint64]*list.Element
}

type lruItem struct {
	key  uint64
	size int
}

func newLRU(memory int) *lru { return &lru{memory, list.New(), make(map[uint64]*list.Element)} }

func (l *lru) request(key uint64, size int) bool {
	if e, ok := l.items[key]; ok {
		l.order.MoveToFront(e)
		return true
	}
	l.memory -= size
	for l.memory < 0 {
		e := l.order.Back()
		it := l.order.Remove(e).(lruItem)
		delete(l.items, it.key)
		l.memory += it.size
	}
	l.items[key] = l.order.PushFront(lruItem{key, size})
	return false
}

// segmented is a model of memcached 1.6 with its defaults: slab classes that grow by 1.25 and take pages until there are none,
// and in each of them a hot, a warm and a cold queue. An item comes into hot. A second fetch makes it active. Beyond their shares,
// the ends of hot and warm go to cold, or active ones to (the front of) warm; an active item in cold goes to warm. The end
// of cold is evicted. The model assumes that its background threads are never behind.
type segmented struct {
	page    int // bytes; 1 MB, or a 64th of a memory that is smaller than memcached's default
	pages   int
	classes map[int]*slab
	items   map[uint64]*list.Element
}

type slab struct {
	chunk, free int
	bytes       int
	queues      [3]*list.List // hot, warm, cold
	used        [3]int
}

type slabItem struct {
	key             uint64
	class           int
	queue           int
	fetched, active bool
}

func newSegmented(memory int) *segmented {
	page := min(1<<20, memory/64)
	return &segmented{page, memory / page, make(map[int]*slab), make(map[uint64]*list.Element)}
}

// chunkFor returns the slab class of a size: multiples of 8, from 96 bytes on by 1.25, up to 512 KB.
func chunkFor(size int) int {
	chunk := 96
	for chunk < size && chunk < 512<<10 {
		chunk = (chunk + chunk/4 + 7) &^ 7
	}
	return min(chunk, 512<<10)
}

func (m *segmented) request(key uint64, size int) bool {
	if e, ok := m.items[key]; ok {
		it := e.Value.(*slabItem)
		switch {
		case !it.fetched:
			it.fetched = true
		case !it.active:
			it.active = true
			if it.queue == cold {
				it.active = false
				m.move(e, warm)
			}
		}
		return true
	}
	chunk := chunkFor(size)
	s := m.classes[chunk]
	if s == nil {
		s = &slab{chunk: chunk, queues: [3]*list.List{list.New(), list.New(), list.New()}}
		m.classes[chunk] = s
	}
	for s.free == 0 {
		// Each class may have one page whatever the limit. Items longer than a page take several.
		if m.pages > 0 || s.bytes == 0 {
			page := max(m.page, chunk)
			m.pages -= page / m.page
			s.free += page / chunk
			s.bytes += page
			continue
		}
		m.evict(s)
	}
	s.free--
	e := s.queues[hot].PushFront(&slabItem{key: key, class: chunk, queue: hot})
	s.used[hot]++
	m.items[key] = e
	m.juggle(s)
	return false
}

const (
	hot = iota
	warm
	cold
)

func (m *segmented) evict(s *slab) {
	for _, queue := range []int{cold, hot, warm} {
		if e := s.queues[queue].Back(); e != nil {
			s.queues[queue].Remove(e)
			s.used[queue]--
			s.free++
			delete(m.items, e.Value.(*slabItem).key)
			return
		}
	}
}

// move moves an item to the front of a queue of its class.
func (m *segmented) move(e *list.Element, queue int) {
	it := e.Value.(*slabItem)
	s := m.classes[it.class]
	s.queues[it.queue].Remove(e)
	s.used[it.queue]--
	it.queue = queue
	m.items[it.key] = s.queues[queue].PushFront(it)
	s.used[queue]++
}

// juggle keeps hot and warm within their shares.
func (m *segmented) juggle(s *slab) {
	total := s.used[hot] + s.used[warm] + s.used[cold]
	for queue, share := range [2]int{20, 40} {
		for range 500 {
			e := s.queues[queue].Back()
			if e == nil || s.used[queue]*100 <= total*share {
				break
			}
			to := cold
			if it := e.Value.(*slabItem); it.active {
				it.active = false
				to = warm
			}
			m.move(e, to)
		}
	}
}

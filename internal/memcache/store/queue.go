package store

// queue is a doubly linked list of items in the order in which they entered it.
type queue struct{ newest, oldest ref }

func (q *queue) push(a *arena, r ref) {
	it := a.item(r)
	it.newer, it.older = 0, q.newest
	if q.newest != 0 {
		a.item(q.newest).newer = r
	} else {
		q.oldest = r
	}
	q.newest = r
}

func (q *queue) remove(a *arena, r ref) {
	it := a.item(r)
	q.join(a, it.newer, it.older)
}

// join links newer and older to each other. 0 is an end of the queue.
func (q *queue) join(a *arena, newer, older ref) {
	if newer != 0 {
		a.item(newer).older = older
	} else {
		q.newest = older
	}
	if older != 0 {
		a.item(older).newer = newer
	} else {
		q.oldest = newer
	}
}

// replace links the neighbours of an item to the block to, which the item has moved to.
func (q *queue) replace(a *arena, to ref) {
	it := a.item(to)
	if it.newer != 0 {
		a.item(it.newer).older = to
	} else {
		q.newest = to
	}
	if it.older != 0 {
		a.item(it.older).newer = to
	} else {
		q.oldest = to
	}
}

// place returns the kind and the class of the queue that the item r is in.
func (s *shard) place(r ref) (kind, class int) {
	it := s.item(r)
	return it.kind(), classOf(s.size(it))
}

// enqueue inserts the item r into the queue of its kind and class, as the newest.
func (s *shard) enqueue(r ref) {
	k, c := s.place(r)
	s.queues[k][c].push(&s.arena, r)
	s.filled[k] |= 1 << c
	s.stamp(r, k, c)
}

// stamp gives the item r, the newest of its queue, its full credit above the present inflation.
func (s *shard) stamp(r ref, kind, class int) {
	s.item(r).since = uint8(s.inflation >> shift(class))
	if s.queues[kind][class].oldest == r {
		s.setPriority(kind, class)
	}
}

// dequeue removes the item r from its queue.
func (s *shard) dequeue(r ref) { s.leave(r, classOf(s.size(s.item(r)))) }

// leave removes the item r from the queue of its kind and of a class, which need not be the class of its present size.
func (s *shard) leave(r ref, class int) {
	k := s.item(r).kind()
	q := &s.queues[k][class]
	oldest := q.oldest
	q.remove(&s.arena, r)
	switch {
	case q.oldest == 0:
		s.filled[k] &^= 1 << class
	case oldest == r:
		s.setPriority(k, class)
	}
}

// setPriority updates the stored priority of the oldest item of a queue.
func (s *shard) setPriority(kind, class int) {
	it, n := s.item(s.queues[kind][class].oldest), shift(class)
	ticks := s.inflation >> n
	age := uint64(uint8(ticks) - it.since)
	s.priority[kind][class] = (ticks - age + credit(class, it.frequency())) << n
}

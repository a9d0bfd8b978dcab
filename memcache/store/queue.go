package store

// queue is items in the order in which they came in.
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

// join makes newer and older neighbours. 0 is the end of the queue.
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

// replace tells the neighbours of an item that it is in another block now.
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

// place is the queue that the item r is in.
func (s *shard) place(r ref) (kind, class int) {
	it := s.item(r)
	return it.kind(), classOf(s.size(it))
}

// enqueue puts the item r into the queue of its kind and class, as the newest.
func (s *shard) enqueue(r ref) {
	k, c := s.place(r)
	s.queues[k][c].push(&s.arena, r)
	s.filled[k] |= 1 << c
	s.begin(r, k, c)
}

// begin begins the life of the item r in its queue, of which it is the newest.
func (s *shard) begin(r ref, kind, class int) {
	s.item(r).since = uint8(s.inflation >> shift(class))
	if s.queues[kind][class].oldest == r {
		s.setDue(kind, class)
	}
}

// dequeue takes the item r out of its queue.
func (s *shard) dequeue(r ref) { s.leave(r, classOf(s.size(s.item(r)))) }

// leave takes the item r out of the queue of its kind and of a class, in which it came in.
func (s *shard) leave(r ref, class int) {
	k := s.item(r).kind()
	q := &s.queues[k][class]
	oldest := q.oldest
	q.remove(&s.arena, r)
	switch {
	case q.oldest == 0:
		s.filled[k] &^= 1 << class
	case oldest == r:
		s.setDue(k, class)
	}
}

// setDue notes the due of a queue's oldest item.
func (s *shard) setDue(kind, class int) {
	it, n := s.item(s.queues[kind][class].oldest), shift(class)
	ticks := s.inflation >> n
	age := uint64(uint8(ticks) - it.since)
	s.due[kind][class] = (ticks - age + life(class, it.worth())) << n
}

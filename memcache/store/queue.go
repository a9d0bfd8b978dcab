package store

// queue is items in the order in which they came in.
type queue struct {
	newest, oldest ref
	bytes          int64
}

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

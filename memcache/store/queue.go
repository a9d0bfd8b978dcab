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

// replace puts the item to where r is.
func (q *queue) replace(a *arena, r, to ref) {
	newer, older := a.item(r).newer, a.item(r).older
	a.item(to).newer, a.item(to).older = newer, older
	if newer != 0 {
		a.item(newer).older = to
	} else {
		q.newest = to
	}
	if older != 0 {
		a.item(older).newer = to
	} else {
		q.oldest = to
	}
}

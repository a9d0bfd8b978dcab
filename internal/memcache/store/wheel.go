package store

import "math/bits"

const (
	digitBits = 6
	digits    = (32 + digitBits - 1) / digitBits
	slots     = 1 << digitBits
)

// wheel is the items that expire, by when. A second is written as six digits of base 64. The wheel has a level for each, and an
// item stands at the level of the highest digit in which its second differs from the wheel's, in the slot of its own digit there: seconds
// on the lowest level, then minutes, hours, days. When the wheel comes to a slot of a higher level, its items move down.
type wheel struct {
	second uint32 // everything that expires before it has been freed
	first  [digits][slots]ref
	some   [digits]uint64 // a bit for each slot that has any
}

func digit(second uint32, level int) uint32 { return second >> (level * digitBits) & (slots - 1) }

// place is where an item stands that expires at a second, seen from the wheel's.
func (w *wheel) place(expires uint32) (level int, slot uint32) {
	if x := expires ^ w.second; x != 0 {
		level = (bits.Len32(x) - 1) / digitBits
	}
	return level, digit(expires, level)
}

// add puts the item r in. It must expire, and not before the wheel's second.
func (w *wheel) add(a *arena, r ref) {
	it := a.item(r)
	level, slot := w.place(it.expires)
	first := &w.first[level][slot]
	it.earlier, it.later = 0, *first
	if it.later != 0 {
		a.item(it.later).earlier = r
	}
	*first = r
	w.some[level] |= 1 << slot
}

// remove takes the item r out.
func (w *wheel) remove(a *arena, r ref) {
	it := a.item(r)
	if it.later != 0 {
		a.item(it.later).earlier = it.earlier
	}
	if it.earlier != 0 {
		a.item(it.earlier).later = it.later
		return
	}
	level, slot := w.find(r, it.expires)
	if w.first[level][slot] = it.later; it.later == 0 {
		w.some[level] &^= 1 << slot
	}
}

// replace tells the neighbours of an item that it is in the block to now, and no longer in r.
func (w *wheel) replace(a *arena, r, to ref) {
	it := a.item(to)
	if it.later != 0 {
		a.item(it.later).earlier = to
	}
	if it.earlier != 0 {
		a.item(it.earlier).later = to
		return
	}
	level, slot := w.find(r, it.expires)
	w.first[level][slot] = to
}

// find is the slot that begins with r. That is where place says, or, while the wheel is moving a slot's items down, above.
func (w *wheel) find(r ref, expires uint32) (level int, slot uint32) {
	level, slot = w.place(expires)
	for w.first[level][slot] != r {
		level++
		slot = digit(expires, level)
	}
	return level, slot
}

// next returns an item that has expired by now, or 0. Then more says whether it has done a part of the work, moving one item down,
// and should be called again.
func (w *wheel) next(a *arena, now uint32) (r ref, more bool) {
	if w.moveDown(a) {
		return 0, true
	}
	for level := range digits {
		from := digit(w.second, level)
		ahead := w.some[level] >> from << from
		if ahead == 0 {
			continue
		}
		slot := uint32(bits.TrailingZeros64(ahead))
		shift := level * digitBits
		second := uint32((uint64(w.second)>>shift>>digitBits<<digitBits | uint64(slot)) << shift)
		if second > now {
			break
		}
		w.second = second
		if level == 0 {
			return w.first[0][slot], true
		}
		return 0, true
	}
	w.second = now
	return 0, false
}

// moveDown moves an item down from a slot that the wheel has come to. This goes before everything else, so the slots that it
// stands at are empty on all levels but the lowest.
func (w *wheel) moveDown(a *arena) bool {
	for level := digits - 1; level > 0; level-- {
		slot := digit(w.second, level)
		if w.some[level]>>slot&1 == 0 {
			continue
		}
		r := w.first[level][slot]
		later := a.item(r).later
		if w.first[level][slot] = later; later == 0 {
			w.some[level] &^= 1 << slot
		} else {
			a.item(later).earlier = 0
		}
		w.add(a, r)
		return true
	}
	return false
}

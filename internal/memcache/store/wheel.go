package store

import "math/bits"

const (
	digitBits = 6
	digits    = (32 + digitBits - 1) / digitBits
	slots     = 1 << digitBits
)

// wheel is a hierarchical timer wheel of the items that expire. A second is a number of six digits to the base 64, and the wheel has a level for
// each digit. An item is on the level of the highest digit in which its second differs from the wheel's, in the slot of its own digit. When the
// wheel reaches a slot of a higher level, the items in it move to lower levels.
type wheel struct {
	second uint32 // all items that expire before it have been freed
	first  [digits][slots]ref
	some   [digits]uint64 // a bit for each slot that has items
}

func digit(second uint32, level int) uint32 { return second >> (level * digitBits) & (slots - 1) }

// place returns the level and the slot of an item that expires at a second.
func (w *wheel) place(expires uint32) (level int, slot uint32) {
	if x := expires ^ w.second; x != 0 {
		level = (bits.Len32(x) - 1) / digitBits
	}
	return level, digit(expires, level)
}

// add adds the item r. It must expire, and not before the wheel's second.
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

// remove removes the item r.
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

// replace links the neighbours of an item, which has moved from the block r, to the block to.
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

// find returns the slot whose list begins with r: that of place or, while the items of a slot move down, one on a higher level.
func (w *wheel) find(r ref, expires uint32) (level int, slot uint32) {
	level, slot = w.place(expires)
	for w.first[level][slot] != r {
		level++
		slot = digit(expires, level)
	}
	return level, slot
}

// next returns an item that has expired by now, or 0. If it is 0 and more is true, next has moved one item to a lower level and must be called
// again.
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

// moveDown moves one item to a lower level, from a slot that the wheel has reached, and reports whether there was one. It is called first, so the
// slots at the wheel's second are empty on all levels except the lowest when next continues.
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

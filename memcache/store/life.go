package store

// Inflation is counted in ticks of a size class. A tick is twice as long for items of half the size, so that a byte of memory is held
// for equally long whatever the size of its item. Then a life has less than 256 ticks in any class, and 8 bits of an item say when
// it began: an item cannot be older, since the inflation does not pass the due of the oldest item of a queue.
const (
	tickBits   = 16 // of a tick of the smallest items
	provenLife = 64 // ticks for each worth
	newLife    = 16 // ticks of a new item
	maxWorth   = 3
	worthShift = 4
)

// shift is the power of two of a class's tick.
func shift(class int) int { return tickBits - class/doubling }

// life is the ticks for which an item of a worth stays without a use. 0 is a new item.
func life(class, worth int) uint64 {
	n := provenLife * worth
	if worth == 0 {
		n = newLife
	}
	return uint64(n * doubling / (doubling + class%doubling))
}

// worth is the number of times in a row that eviction has met the item and it had been used, up to maxWorth. New items have 0.
func (it *item) worth() int { return int(it.state & worthBits >> worthShift) }

func (it *item) setWorth(n int) { it.state = it.state&^worthBits | state(n)<<worthShift }

// kind is the kind of queue that the item is in.
func (it *item) kind() int {
	if it.state&worthBits == 0 {
		return newItems
	}
	return provenItems
}

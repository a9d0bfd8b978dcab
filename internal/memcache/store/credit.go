package store

// Inflation is measured in ticks of a size class. The tick of a class is twice as long as that of the class of double size, so a byte of
// memory costs the same in items of all sizes. A credit is then below 256 ticks in every class, and 8 bits of an item suffice to store the
// tick at which it entered its queue: no item is older, since the inflation never passes the priority of the oldest item of a queue.
const (
	tickBits        = 16 // a tick of the smallest class is 1<<tickBits units of inflation
	protectedCredit = 64 // ticks for each unit of frequency
	probationCredit = 16 // ticks of an item in probation
	maxFrequency    = 3
	frequencyShift  = 4
)

// shift returns the binary logarithm of the tick of a class.
func shift(class int) int { return tickBits - class/doubling }

// credit returns the ticks by which the priority of an item exceeds the inflation when it enters its queue. Frequency 0 is probation.
func credit(class, frequency int) uint64 {
	n := protectedCredit * frequency
	if frequency == 0 {
		n = probationCredit
	}
	return uint64(n * doubling / (doubling + class%doubling))
}

// frequency returns the number of times that eviction has found the item referenced, up to maxFrequency. It is 0 in probation.
func (it *item) frequency() int { return int(it.state & frequencyBits >> frequencyShift) }

func (it *item) setFrequency(n int) { it.state = it.state&^frequencyBits | state(n)<<frequencyShift }

// kind returns the kind of the queue that the item is in.
func (it *item) kind() int {
	if it.state&frequencyBits == 0 {
		return probation
	}
	return protected
}

package memcache

import (
	"strconv"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/memcache/store"
)

// sumOutcome is the outcome of an incr or decr.
type sumOutcome uint8

const (
	counted sumOutcome = iota
	noNumber
	noItem
	otherCAS
	noRoom
)

const (
	notNumeric = "CLIENT_ERROR cannot increment or decrement non-numeric value"
	noMemoryAt = "SERVER_ERROR out of memory"
)

// textArith serves incr and decr.
func (w *worker) textArith() {
	r := &w.req
	n, what := w.sum(r.Key, r.Op == protocol.OpIncr, r.Delta)
	switch what {
	case counted:
		if !r.NoReply {
			w.out = append(strconv.AppendUint(w.out, n, 10), '\r', '\n')
		}
	case noItem:
		w.unlessQuiet("NOT_FOUND")
	case noNumber:
		w.unlessQuiet(notNumeric)
	default:
		w.unlessQuiet(noMemoryAt)
	}
}

// sum executes an incr, or a decr if up is false.
func (x *executor) sum(key []byte, up bool, delta uint64) (n uint64, what sumOutcome) {
	e := x.look(key)
	defer e.Unlock()
	n, what = x.arith(&e, len(key), up, delta, 0)
	if what == noItem {
		x.countNoSum(up)
	}
	return n, what
}

// maxDigits is the length of the largest number.
const maxDigits = len("18446744073709551615")

// pad returns a number followed by spaces, n bytes together. It is valid until the next call.
func (x *executor) pad(number []byte, n int) []byte {
	if cap(x.padded) < n || cap(x.padded) > maxOut {
		x.padded = make([]byte, n)
	}
	value := x.padded[:n]
	for i := copy(value, number); i < n; i++ {
		value[i] = ' '
	}
	return value
}

// countNoSum counts an incr or decr that has neither found nor created an item.
func (x *executor) countNoSum(up bool) {
	if up {
		x.counts.add(incrMisses, 1)
	} else {
		x.counts.add(decrMisses, 1)
	}
}

// arith adds delta to the number of the entry, modulo 2^64, or subtracts it, down to 0. key is the length of the key in bytes. cas 0
// matches any item. The value keeps its length where possible: spaces follow a shorter number.
func (x *executor) arith(e *store.Entry, key int, up bool, delta, cas uint64) (n uint64, what sumOutcome) {
	if !e.Found() {
		return 0, noItem
	}
	m := e.Meta()
	switch {
	case e.Len() == 0, x.itemSize(key, m.Flags, e.Len()) > maxNumberItem:
		return 0, noNumber
	case cas != 0 && cas != m.CAS:
		return 0, otherCAS
	}
	n, ok := protocol.ParseNumber(e.Value())
	switch {
	case !ok:
		return 0, noNumber
	case up:
		n += delta
	case n < delta:
		n = 0
	default:
		n -= delta
	}
	if up {
		e.Count(store.Incr)
	} else {
		e.Count(store.Decr)
	}
	m.CAS = x.nextCAS()
	var digits [maxDigits]byte
	value := strconv.AppendUint(digits[:0], n, 10)
	for len(value) < min(e.Len(), maxDigits) {
		value = append(value, ' ')
	}
	if len(value) < e.Len() {
		value = x.pad(value, e.Len())
	}
	if e.Overwrite(value) {
		e.SetMeta(m)
		e.Keep()
		return n, counted
	}
	used := e.Fetched() && len(value) == e.Len() // too large to overwrite, but remains the same item
	if err := e.Put(m, value); err != nil {
		return 0, noRoom
	}
	if used {
		e.Use()
	} else {
		e.Keep()
	}
	return n, counted
}

package store

// Meta is the data that the store keeps with a value.
type Meta struct {
	Flags   uint32 // the client's
	Expires int64  // the second from which the item is gone; 0: never, and so if it is past 2^32-1
	CAS     uint64 // see NextCAS
	Bits    uint8  // the user's
}

// An Entry is a key whose shard is locked, with its item if there is one. Copies of an Entry are the same entry. No method may be called after
// Unlock. The methods are for the goroutine that has called Lock.
type Entry struct{ *entry }

// entry is the state of the Entry that has a shard locked. It is a part of the shard, so that an Entry is only a pointer.
type entry struct {
	shard *shard
	key   []byte
	hash  uint32
	ref   ref    // 0: no item
	past  bool   // the item's Expires has passed: it expires with Unlock
	held  extent // the value that Put may copy from, 0 outside it

	finding Finding // of Lock
}

// A Finding is the result of the look-up of a key by Lock.
type Finding uint8

const (
	NotFound Finding = iota // no item
	Found                   // an item
	Expired                 // an item that had expired, which was removed
	Flushed                 // an item that a flush had removed
)

// String returns the word that memcached's watch command has for f.
func (f Finding) String() string {
	return [...]string{"not_found", "found", "expired", "flushed"}[f]
}

// Finding returns the result of the look-up by Lock, even if the item has been stored or deleted since.
func (e *Entry) Finding() Finding { return e.finding }

// Unlock ends the use of e.
func (e *Entry) Unlock() {
	s := e.shard
	if e.past && !s.busy {
		s.endPast(e.ref)
	}
	e.key = nil
	e.entry = nil
	s.unlock()
}

// Found reports whether there is an item that is neither expired nor flushed.
func (e *Entry) Found() bool { return e.ref != 0 }

// item returns the item of e, which must have one.
func (e *Entry) item() *item {
	if e.ref == 0 {
		panic("store: entry without an item")
	}
	return e.shard.item(e.ref)
}

// Meta returns the metadata of the item. An Expires that has passed is returned as the present second.
func (e *Entry) Meta() Meta {
	m := e.item().meta()
	if e.past {
		m.Expires = int64(e.shard.now)
	}
	return m
}

// Len returns the length of the value in bytes.
func (e *Entry) Len() int { return int(e.item().value) }

// Value returns the value: the store's memory, which must not be written and is valid until Unlock or the next change of e; or, of a
// value of 16 KB and more, which lies in several pieces, a copy.
func (e *Entry) Value() []byte {
	if it := e.item(); it.state&large != 0 {
		return e.AppendValue(make([]byte, 0, it.value))
	}
	return e.Tail()
}

// AppendValue appends the value to p.
func (e *Entry) AppendValue(p []byte) []byte {
	it := e.item()
	if it.state&large == 0 {
		return append(p, it.inline()...)
	}
	var parts [8][]byte
	for _, part := range e.AppendParts(parts[:0]) {
		p = append(p, part...)
	}
	return p
}

// AppendParts appends the pieces of the value to parts. They are the store's memory, as Value is.
func (e *Entry) AppendParts(parts [][]byte) [][]byte {
	it := e.item()
	if it.state&large != 0 {
		parts = e.shard.appendParts(parts, it.first())
	}
	return append(parts, it.inline())
}

// Tail returns the part of the value that a Lease does not cover: all of a value below 16 KB, and the bytes of a larger one after its last
// whole page of 16 KB. It is the store's memory, as Value is.
func (e *Entry) Tail() []byte { return e.item().inline() }

// Size returns the bytes that the item takes, head, key and value, and what is lost by rounding.
func (e *Entry) Size() int { return int(e.shard.size(e.item())) }

// LastAccess returns the second in which the item was last used or stored.
func (e *Entry) LastAccess() int64 { return int64(e.item().access) }

// Fetched reports whether Use was called since the item was stored.
func (e *Entry) Fetched() bool { return e.item().state&fetched != 0 }

// Use records a use of the item by a client. It delays the item's eviction.
func (e *Entry) Use() {
	it := e.item()
	e.use(it, classOf(e.shard.size(it)))
}

// UseAs is Use and Count.
func (e *Entry) UseAs(op Op) {
	it := e.item()
	class := classOf(e.shard.size(it))
	e.shard.classes[class].Ops[op]++
	e.use(it, class)
}

// use is Use of an item of a class.
func (e *Entry) use(it *item, class int) {
	e.shard.use(it, class)
	if it.state&fetched == 0 {
		e.shard.classes[class].Unfetched--
		it.state |= fetched
	}
}

// Keep delays the item's eviction as Use does, but does not mark it as Fetched.
func (e *Entry) Keep() {
	it := e.item()
	e.shard.use(it, classOf(e.shard.size(it)))
}

// Count counts an operation of a client with the item, for Stats and Classes.
func (e *Entry) Count(op Op) { e.shard.class(e.item()).Ops[op]++ }

// CountSet counts a request to store a value of n bytes for the key.
func (e *Entry) CountSet(n int) {
	size := headSize + len(e.key) + inlineFor(n) + n - n%pageBytes
	if n < largeMin {
		size = headSize + len(e.key) + n
	}
	e.shard.classes[classOf(int64(size+unit-1)/unit*unit)].Ops[Set]++
}

// SetMeta changes the metadata of the item. If the new Expires has passed, the item is removed after Unlock.
func (e *Entry) SetMeta(m Meta) {
	it, s := e.item(), e.shard
	it.flags, it.cas, it.bits = m.Flags, m.CAS, m.Bits
	s.busy = true
	s.setExpires(e.ref, e.expires(&m))
	s.busy = false
	e.past = m.gone(s.now)
}

// Delete removes the item, if there is one.
func (e *Entry) Delete() {
	if e.ref != 0 {
		s := e.shard
		was := s.busy
		s.busy = true
		s.remove(e.ref)
		s.busy = was
		e.ref, e.past = 0, false
	}
}

// expires returns the expiry time of an item with m while it is locked. An item past its expiry time is live until Unlock.
func (e *Entry) expires(m *Meta) uint32 {
	if m.gone(e.shard.now) || m.Expires > 1<<32-1 {
		return 0
	}
	return uint32(m.Expires)
}

func (m *Meta) gone(now uint32) bool {
	return m.Expires < 0 || m.Expires > 0 && m.Expires <= int64(now)
}

package store

// Meta is what the store keeps with a value.
type Meta struct {
	Flags   uint32 // the client's
	Expires int64  // the second from which the item is gone; 0: never, and so if it is past 2^32-1
	CAS     uint64 // see NextCAS
	Bits    uint8  // the user's
}

// Entry is a key whose part of the store is locked: the item, or the place where one would be. It is a value; copies of it
// are the same entry until something is stored. No method may be called after Unlock.
type Entry struct {
	shard *shard
	key   []byte
	hash  uint32
	ref   ref  // 0: no item
	late  bool // there was one, whose time was over
}

// Unlock ends the use of e.
func (e *Entry) Unlock() {
	mu := &e.shard.mu
	e.shard = nil
	mu.Unlock()
}

// Found says whether there is an item: stored, and neither expired nor flushed.
func (e *Entry) Found() bool { return e.ref != 0 }

// Late says that Lock found an item whose time was over, and removed it: that it had not been reaped before.
func (e *Entry) Late() bool { return e.late }

// item is e's, of which there must be one.
func (e *Entry) item() *item {
	if e.ref == 0 {
		panic("store: entry without an item")
	}
	return e.shard.item(e.ref)
}

// Meta returns what was stored with the value.
func (e *Entry) Meta() Meta { return e.item().meta() }

// Value returns the value. It is the store's memory: it must not be written, and is valid until Unlock or the next change of e.
func (e *Entry) Value() []byte {
	it := e.item()
	if it.state&large != 0 {
		return e.shard.larges.of(it).Bytes()
	}
	return it.inline()
}

// Borrow returns the value for use after Unlock, until Large.Return, if it has memory of its own; nil, if it is a small one. When the
// item goes meanwhile, what the value takes still counts: it may be half of the memory, and above that no large value is stored.
func (e *Entry) Borrow() *Large {
	it := e.item()
	if it.state&large == 0 {
		return nil
	}
	v := e.shard.larges.of(it)
	v.refs.Add(1)
	return v
}

// Size returns the bytes that the item takes, head, key and value, and what is lost by rounding.
func (e *Entry) Size() int { return int(e.shard.size(e.item())) }

// LastAccess returns the second in which the item was last used or stored.
func (e *Entry) LastAccess() int64 { return int64(e.item().access) }

// Fetched says whether Use was called since the item was stored.
func (e *Entry) Fetched() bool { return e.item().state&fetched != 0 }

// Use notes that somebody has asked for the item: it is then more worth keeping.
func (e *Entry) Use() {
	it := e.item()
	e.shard.use(it)
	it.state |= fetched
}

// Keep notes, as Use does, that the item is worth keeping, but not that anybody has seen it: Fetched stays.
func (e *Entry) Keep() {
	e.shard.use(e.item())
}

// Count counts, for Stats and Classes, what a client has got of the item.
func (e *Entry) Count(op Op) { e.shard.class(e.item()).Ops[op]++ }

// CountSet counts, in the same place, that a value of n bytes was brought for the key.
func (e *Entry) CountSet(n int) {
	size := headSize + len(e.key) + n
	if n >= largeMin {
		size += largeRef
	}
	e.shard.classes[classOf(int64(size+unit-1)/unit*unit)].Ops[Set]++
}

// SetMeta changes what is kept with the value. If the new Expires has been, the item is gone.
func (e *Entry) SetMeta(m Meta) {
	it := e.item()
	if m.gone(e.shard.now) {
		e.Delete()
		return
	}
	it.flags, it.cas, it.bits = m.Flags, m.CAS, m.Bits
	e.shard.setExpires(e.ref, m.expires())
}

// Delete removes the item, if there is one.
func (e *Entry) Delete() {
	if e.ref != 0 {
		e.shard.remove(e.ref)
		e.ref = 0
	}
}

func (m *Meta) gone(now uint32) bool {
	return m.Expires < 0 || m.Expires > 0 && m.Expires <= int64(now)
}

func (m *Meta) expires() uint32 {
	if m.Expires > 1<<32-1 {
		return 0
	}
	return uint32(m.Expires)
}

package memcache

import (
	"encoding/base64"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/memcache/store"
)

// metaGet serves mg.
func (w *worker) metaGet() {
	r := &w.req
	large, found := w.metaLook(r)
	w.detail.get(r.Key, found)
	switch {
	case found && r.Meta.Value:
		w.large(large)
		w.end()
	case !found && !r.NoReply:
		w.out = append(w.out, "EN"...)
		w.metaEcho(r.Key, r.Meta.BinaryKey)
		w.end()
	}
}

// metaLook answers with the item, if there is one or one is to be created. It leaves a large value and the end of the value to the caller.
func (w *worker) metaLook(r *protocol.Request) (large *store.Lease, found bool) {
	f := &r.Meta
	now := w.clock.Unix()
	e := w.look(r.Key)
	defer e.Unlock()
	created := false
	if !e.Found() && f.Vivify {
		created = e.Put(store.Meta{CAS: w.nextCAS()}, nil) == nil // without room it is a miss
	}
	if !e.Found() {
		w.countMiss(false)
		return nil, false
	}
	e.Count(opOfGet(f.NewTTL))
	if f.Value {
		w.out = append(w.out, "VA "...)
		w.out = appendUint(w.out, uint64(e.Len()))
	} else {
		w.out = append(w.out, "HD"...)
	}
	m := e.Meta()
	recache := w.metaWords(r, &m, &e, created, now)
	won := w.metaWin(&m, recache)
	w.end()
	if !f.NoUpdate {
		e.Use()
	}
	if won || f.NewTTL {
		e.SetMeta(m)
	}
	if f.Value {
		large = w.value(&e)
	}
	return large, true
}

// metaWords answers the flags of a command that has found or created an item, and applies those that set its time. It reports whether the client is
// to store a new value: the item was created, or is about to expire, and no client was told so before.
func (w *worker) metaWords(r *protocol.Request, m *store.Meta, e *store.Entry, created bool, now int64) (recache bool) {
	f := &r.Meta
	recache = created
	for _, word := range f.Words {
		switch word[0] {
		case 'T':
			m.Expires = expiry(int64(f.TTL), now)
		case 'N':
			if created {
				m.Expires = expiry(int64(f.VivifyTTL), now)
			}
		case 'R':
			if m.Bits&bitWon == 0 && !created && m.Expires != 0 && m.Expires < expiry(int64(f.RecacheAt), now) {
				recache = true
			}
		default:
			w.metaWord(word, r.Key, m, e, now)
		}
	}
	return recache
}

// metaWin answers whether the client is the one to store a new value (W), or another one was told to (Z), and whether the value is stale (X). It
// reports the first, and then sets the item's bit for it.
func (w *worker) metaWin(m *store.Meta, recache bool) (won bool) {
	won = recache
	if m.Bits&bitWon != 0 {
		w.out = append(w.out, " Z"...)
	}
	if m.Bits&bitStale != 0 {
		w.out = append(w.out, " X"...)
		won = won || m.Bits&bitWon == 0
	}
	if won {
		w.out = append(w.out, " W"...)
		m.Bits |= bitWon
	}
	return won
}

// metaWord answers one flag of a command that has found an item.
func (w *worker) metaWord(word, key []byte, m *store.Meta, e *store.Entry, now int64) {
	b := w.out
	b = append(b, ' ', word[0])
	switch word[0] {
	case 's':
		b = appendUint(b, uint64(e.Len()))
	case 't':
		b = appendTTL(b, m.Expires, now)
	case 'c':
		b = appendUint(b, m.CAS)
	case 'f':
		b = appendUint(b, uint64(m.Flags))
	case 'l':
		b = appendUint(b, uint64(max(0, now-e.LastAccess()))) // another loop may have seen a later second
	case 'h':
		if e.Fetched() {
			b = append(b, '1')
		} else {
			b = append(b, '0')
		}
	case 'O':
		b = append(b, word[1:]...)
	case 'k':
		b = appendKey(b, key, m.Bits&bitBase64 != 0)
	default:
		return
	}
	w.out = b
}

// appendTTL appends the number of seconds until an item expires, -1 for never.
func appendTTL(b []byte, expires, now int64) []byte {
	if expires == 0 {
		return append(b, "-1"...)
	}
	return appendUint(b, uint64(max(0, expires-now)))
}

// appendKey appends a key in its original form; with b it was sent in base64.
func appendKey(b, key []byte, inBase64 bool) []byte {
	if !inBase64 {
		return append(b, key...)
	}
	b = base64.StdEncoding.AppendEncode(b, key)
	return append(b, " b"...)
}

// metaEcho appends the flags that are also answered if there is no item.
func (w *worker) metaEcho(key []byte, inBase64 bool) {
	for _, word := range w.req.Meta.Words {
		switch word[0] {
		case 'O':
			w.out = append(w.out, ' ')
			w.out = append(w.out, word...)
		case 'k':
			w.out = append(w.out, " k"...)
			w.out = appendKey(w.out, key, inBase64)
		}
	}
}

func (w *worker) end() { w.out = append(w.out, '\r', '\n') }

// metaSet carries out ms with the value in o.
func (w *worker) metaSet(o *order) {
	r := &w.req
	f := &r.Meta
	o.expires, o.binary = expiry(int64(f.TTL), w.clock.Unix()), f.BinaryKey
	o.op = opOfMode(f.Mode)
	if f.HasCAS && (o.op == protocol.OpSet || o.op == protocol.OpReplace) {
		o.op = protocol.OpCas
	}
	o.stale = f.Stale && o.op == protocol.OpCas
	what, cas := w.put(o)
	switch what {
	case tooLarge, noMemory:
		w.line(what.text())
		return
	case stored:
		if r.NoReply {
			return
		}
	}
	w.out = append(w.out, [...]string{"HD", "NS", "EX", "NF"}[what]...)
	for _, word := range f.Words {
		switch word[0] {
		case 'O':
			w.out = append(w.out, ' ')
			w.out = append(w.out, word...)
		case 'k':
			w.out = append(w.out, " k"...)
			w.out = appendKey(w.out, r.Key, f.BinaryKey)
		case 'c':
			w.out = append(w.out, " c"...)
			w.out = appendUint(w.out, cas)
		}
	}
	w.end()
}

// opOfMode returns the operation of a mode of ms.
func opOfMode(mode byte) protocol.Op {
	switch mode {
	case 'E':
		return protocol.OpAdd
	case 'A':
		return protocol.OpAppend
	case 'P':
		return protocol.OpPrepend
	case 'R':
		return protocol.OpReplace
	}
	return protocol.OpSet
}

// metaDelete serves md.
func (w *worker) metaDelete() {
	r := &w.req
	f := &r.Meta
	answer := w.metaRemove(r)
	if answer != "HD" {
		w.counts.add(deleteMisses, 1)
	} else if r.NoReply {
		return
	}
	w.out = append(w.out, answer...)
	w.metaEcho(r.Key, f.BinaryKey)
	w.end()
}

// metaRemove removes an item, or marks it as stale, and returns the answer.
func (w *worker) metaRemove(r *protocol.Request) (answer string) {
	f := &r.Meta
	e := w.look(r.Key)
	defer e.Unlock()
	switch {
	case !e.Found():
		return "NF"
	case f.HasCAS && e.Meta().CAS != r.CAS:
		return "EX"
	case f.Stale:
		m := e.Meta()
		if f.NewTTL {
			m.Expires = expiry(int64(f.TTL), w.clock.Unix())
		}
		m.Bits = m.Bits&^bitWon | bitStale // the next client that gets the item fetches it anew
		m.CAS = w.nextCAS()
		e.SetMeta(m)
	default:
		e.Count(store.Delete)
		e.Delete()
	}
	return "HD"
}

// metaArith serves ma.
func (w *worker) metaArith() {
	r := &w.req
	f := &r.Meta
	up := f.Mode != 'D' && f.Mode != '-'
	e := w.look(r.Key)
	defer e.Unlock()
	n, what := w.arith(&e, len(r.Key), up, r.Delta, r.CAS)
	created := false
	if what == noItem && f.Vivify {
		var digits [maxDigits]byte
		n = f.Initial
		if e.Put(store.Meta{CAS: w.nextCAS()}, appendUint(digits[:0], n)) != nil {
			w.line("SERVER_ERROR Out of memory allocating new item")
			return
		}
		w.logCreated(&e, r.Key, true)
		what, created = counted, true
	}
	switch what {
	case counted:
		w.metaSum(&e, n, created)
	case noNumber:
		w.line(notNumeric)
	case noRoom:
		w.line(noMemoryAt)
	case noItem, otherCAS:
		if what == noItem {
			w.countNoSum(up)
		}
		w.out = append(w.out, [...]string{noItem: "NF", otherCAS: "EX"}[what]...)
		w.metaEcho(r.Key, f.BinaryKey)
		w.end()
	}
}

// metaSum answers ma with the number n of an entry, which ma may have created, and changes the expiry time as its flags say.
func (w *worker) metaSum(e *store.Entry, n uint64, created bool) {
	r := &w.req
	f := &r.Meta
	now := w.clock.Unix()
	m := e.Meta()
	if created || f.NewTTL {
		defer func() { e.SetMeta(m) }() // with the changes of m by the flags
	}
	if r.NoReply && !created {
		if f.NewTTL {
			m.Expires = expiry(int64(f.TTL), now)
		}
		return
	}
	var digits [maxDigits]byte
	number := appendUint(digits[:0], n)
	if f.Value {
		w.out = append(w.out, "VA "...)
		w.out = appendUint(w.out, uint64(len(number)))
	} else {
		w.out = append(w.out, "HD"...)
	}
	for _, word := range f.Words {
		switch word[0] {
		case 'T':
			m.Expires = expiry(int64(f.TTL), now)
		case 'N':
			if created {
				m.Expires = expiry(int64(f.VivifyTTL), now)
			}
		case 'c', 't', 'O':
			w.metaWord(word, r.Key, &m, e, now)
		case 'k':
			w.out = append(w.out, " k"...)
			w.out = appendKey(w.out, r.Key, f.BinaryKey)
		}
	}
	w.end()
	if f.Value {
		w.out = append(w.out, number...)
		w.end()
	}
}

// metaDebug serves me, which shows the metadata of an item.
func (w *worker) metaDebug() {
	w.counts.add(cmdMeta, 1) // memcached counts no other meta command
	key := w.req.Key
	e := w.look(key)
	defer e.Unlock()
	if !e.Found() {
		w.line("EN")
		return
	}
	m := e.Meta()
	now := w.clock.Unix()
	w.out = append(w.out, "ME "...)
	if m.Bits&bitBase64 != 0 {
		w.out = base64.StdEncoding.AppendEncode(w.out, key)
	} else {
		w.out = append(w.out, key...)
	}
	expires := int64(-1)
	if m.Expires != 0 {
		expires = now - m.Expires
	}
	w.out = appendDebug(w.out, expires, max(0, now-e.LastAccess()), m.CAS, e.Fetched(), e.Size())
	w.end()
}

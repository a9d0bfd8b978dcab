package memcache

import (
	"encoding/binary"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/memcache/store"
)

// frame serves one frame of the binary protocol.
func (s *session) frame(p []byte) (used int, whole bool) {
	w := s.w
	if len(p) < protocol.HeaderLen {
		return 0, false
	}
	f := &w.bin
	if !protocol.Header(p, f) {
		w.quit = true
		return len(p), true
	}
	rest := p[protocol.HeaderLen:]
	if status := f.Check(); status != protocol.Success {
		w.status(status)
		if known := status != protocol.UnknownCommand || f.Prefix() > f.Body; known {
			w.quit = true
			return len(p), true
		}
		s.discard(f.Body)
		return protocol.HeaderLen, true
	}
	if w.config.SASL && !s.known && !beforeLogin(f.Command) {
		w.status(protocol.AuthError)
		w.quit = true
		return len(p), true
	}
	if len(rest) < f.Prefix() {
		return 0, false
	}
	if f.Body > wholeValue {
		return s.largeFrame(p)
	}
	if len(rest) < f.Body {
		return 0, false
	}
	f.Split(rest[:f.Body])
	if frameJoins(f) && !s.extend(f.Key, len(f.Value)) {
		return 0, false
	}
	w.execute(s)
	return protocol.HeaderLen + f.Body, true
}

// beforeLogin reports whether an opcode is allowed before authentication.
func beforeLogin(op protocol.Opcode) bool {
	switch op {
	case protocol.BinSASLList, protocol.BinSASLAuth, protocol.BinSASLStep, protocol.BinVersion, protocol.BinQuit:
		return true
	}
	return false
}

// largeFrame begins a frame whose value is received into the store's memory. Only frames that store may be so large.
func (s *session) largeFrame(p []byte) (used int, whole bool) {
	w := s.w
	f := &w.bin
	head := protocol.HeaderLen + f.Prefix()
	f.Split(p[protocol.HeaderLen:head])
	switch f.Command {
	case protocol.BinSet, protocol.BinAdd, protocol.BinReplace, protocol.BinAppend, protocol.BinPrepend:
	default:
		w.status(protocol.Invalid)
		w.quit = true
		return len(p), true
	}
	flags := uint32(0)
	if len(f.Extras) == 8 {
		flags = binary.BigEndian.Uint32(f.Extras)
	}
	if !w.fits(len(f.Key), flags, f.ValueLen()) {
		w.counts.add(storeTooLarge, 1)
		w.logRefused(opOfFrame(f.Command), f.Key, tooLarge, f.ValueLen())
		if f.Command == protocol.BinSet {
			w.forget(protocol.OpSet, f.Key)
		}
		w.status(protocol.TooLarge)
		s.discard(f.ValueLen())
		return head, true
	}
	if frameJoins(f) && !s.extend(f.Key, f.ValueLen()) {
		return 0, false
	}
	n, whole := s.expect(p[:head], f.Key, f.ValueLen()).take(s, p[head:])
	return head + n, whole
}

// frameJoins reports whether a frame appends or prepends its value.
func frameJoins(f *protocol.Frame) bool {
	return f.Command == protocol.BinAppend || f.Command == protocol.BinPrepend
}

// lateFrame carries out a frame whose value has been received.
func (w *worker) lateFrame(v *value) {
	w.reread(v)
	w.coming = v.got
	w.execute(nil)
}

// refuseFrame answers a frame with a value for which there is no room.
func (w *worker) refuseFrame(v *value) {
	w.reread(v)
	w.logRefused(opOfFrame(w.bin.Command), w.bin.Key, noMemory, w.bin.ValueLen())
	if w.bin.Command == protocol.BinSet {
		w.forget(protocol.OpSet, w.bin.Key)
	}
	w.status(protocol.OutOfMemory)
}

func (w *worker) reread(v *value) {
	protocol.Header(v.head, &w.bin)
	w.bin.Split(v.head[protocol.HeaderLen:])
}

// status answers with a status and its text. Errors are sent for quiet opcodes, too.
func (w *worker) status(status protocol.Status) { w.out = protocol.AppendStatus(w.out, &w.bin, status) }

// success answers with success, unless the opcode is quiet.
func (w *worker) success(cas uint64) {
	if !w.bin.Quiet {
		w.out = protocol.AppendResponse(w.out, &w.bin, protocol.Success, cas, nil, nil, 0)
	}
}

// execute carries out the frame in w.bin.
func (w *worker) execute(s *session) {
	f := &w.bin
	switch f.Command {
	case protocol.BinGet, protocol.BinGetK, protocol.BinGAT, protocol.BinGATK, protocol.BinTouch:
		w.binGet()
	case protocol.BinSet, protocol.BinAdd, protocol.BinReplace:
		w.binSet()
	case protocol.BinAppend, protocol.BinPrepend:
		op := protocol.OpAppend
		if f.Command == protocol.BinPrepend {
			op = protocol.OpPrepend
		}
		w.binStored(&order{op: op, key: f.Key, cas: f.CAS})
	case protocol.BinDelete:
		w.binDelete()
	case protocol.BinIncrement, protocol.BinDecrement:
		w.binArith()
	case protocol.BinFlush:
		w.binFlush()
	case protocol.BinNoop:
		w.success(0)
	case protocol.BinVersion:
		w.out = protocol.AppendResponse(w.out, f, protocol.Success, 0, nil, nil, len(Version))
		w.out = append(w.out, Version...)
	case protocol.BinQuit:
		w.success(0)
		w.quit, w.bye = true, true
	case protocol.BinStat:
		w.binStats()
	default:
		w.binSASL(s)
	}
}

// binGet serves the opcodes that look up an item: get, get and touch, touch.
func (w *worker) binGet() {
	f := &w.bin
	var key []byte
	if f.Command == protocol.BinGetK || f.Command == protocol.BinGATK {
		key = f.Key
	}
	large, found := w.binLook(f, key)
	w.detail.get(f.Key, found)
	switch {
	case found:
		w.large(large)
	case f.Quiet:
	case key != nil:
		w.out = protocol.AppendResponse(w.out, f, protocol.KeyNotFound, 0, nil, key, 0)
	default:
		w.status(protocol.KeyNotFound)
	}
}

// binLook answers with the item, if there is one. It leaves a large value to the caller. key is sent before the value.
func (w *worker) binLook(f *protocol.Frame, key []byte) (large *store.Lease, found bool) {
	touch := len(f.Extras) == 4
	e := w.look(f.Key)
	defer e.Unlock()
	if !e.Found() {
		w.countMiss(touch)
		return nil, false
	}
	m := e.Meta()
	e.UseAs(opOfGet(touch))
	if touch {
		touched := m
		touched.Expires = expiry(int64(binary.BigEndian.Uint32(f.Extras)), w.clock.Unix())
		e.SetMeta(touched)
	}
	var flags [4]byte
	binary.BigEndian.PutUint32(flags[:], m.Flags)
	if f.Command == protocol.BinTouch {
		w.out = protocol.AppendResponse(w.out, f, protocol.Success, m.CAS, flags[:], nil, 0)
		return nil, true
	}
	w.out = protocol.AppendResponse(w.out, f, protocol.Success, m.CAS, flags[:], key, e.Len())
	return w.value(&e), true
}

func (w *worker) binSet() {
	f := &w.bin
	o := order{
		op:  protocol.OpSet,
		key: f.Key, flags: binary.BigEndian.Uint32(f.Extras), cas: f.CAS,
		expires: expiry(int64(binary.BigEndian.Uint32(f.Extras[4:])), w.clock.Unix()),
	}
	switch f.Command {
	case protocol.BinAdd:
		o.op = protocol.OpAdd
	case protocol.BinReplace:
		o.op = protocol.OpReplace
	}
	if o.cas != 0 && !w.config.NoCAS {
		o.op = protocol.OpCas
	}
	w.binStored(&o)
}

// binStored executes an order to store the frame's value, and answers.
func (w *worker) binStored(o *order) {
	o.value, o.come, o.size = w.bin.Value, w.coming, len(w.bin.Value)
	if o.come != nil {
		o.size = o.come.Len()
	}
	what, cas := w.put(o)
	switch {
	case what == stored:
		w.success(cas)
	case what == exists, what == notStored && o.op == protocol.OpAdd:
		w.status(protocol.KeyExists)
	case what == notFound, what == notStored && o.op == protocol.OpReplace:
		w.status(protocol.KeyNotFound)
	case what == tooLarge:
		w.status(protocol.TooLarge)
	case what == noMemory:
		w.status(protocol.OutOfMemory)
	default:
		w.status(protocol.NotStored)
	}
}

func (w *worker) binDelete() {
	f := &w.bin
	status := w.binRemove(f)
	w.detail.delete(f.Key)
	if status != protocol.Success {
		w.counts.add(deleteMisses, 1)
		w.status(status)
		return
	}
	w.success(0)
}

func (w *worker) binRemove(f *protocol.Frame) protocol.Status {
	e := w.look(f.Key)
	defer e.Unlock()
	switch {
	case !e.Found():
		return protocol.KeyNotFound
	case f.CAS != 0 && f.CAS != e.Meta().CAS:
		return protocol.KeyExists
	}
	e.Count(store.Delete)
	e.Delete()
	return protocol.Success
}

// noCreation is the expiry with which an increment does not create an item.
const noCreation = 0xffffffff

func (w *worker) binArith() {
	f := &w.bin
	n, cas, what := w.binSum(f)
	switch what {
	case noItem:
		w.status(protocol.KeyNotFound)
	case otherCAS:
		w.status(protocol.KeyExists)
	case noNumber:
		w.status(protocol.NotNumeric)
	case noRoom:
		w.status(protocol.OutOfMemory)
	default:
		if !f.Quiet {
			w.out = protocol.AppendResponse(w.out, f, protocol.Success, cas, nil, nil, 8)
			w.out = binary.BigEndian.AppendUint64(w.out, n)
		}
	}
}

// binSum carries out an increment or decrement, which may create its item. cas is the item's unique number afterwards.
func (w *worker) binSum(f *protocol.Frame) (n, cas uint64, what sumOutcome) {
	delta, initial := binary.BigEndian.Uint64(f.Extras), binary.BigEndian.Uint64(f.Extras[8:])
	exptime := binary.BigEndian.Uint32(f.Extras[16:])
	e := w.look(f.Key)
	defer e.Unlock()
	n, what = w.arith(&e, len(f.Key), f.Command == protocol.BinIncrement, delta, f.CAS)
	if what == noItem && exptime != noCreation {
		n, what = initial, counted
		m := store.Meta{Expires: expiry(int64(exptime), w.clock.Unix()), CAS: w.nextCAS()}
		var digits [maxDigits]byte
		err := e.Put(m, appendUint(digits[:0], n))
		w.logCreated(&e, f.Key, err == nil)
		if err != nil {
			return 0, 0, noRoom
		}
	}
	switch what {
	case counted:
		cas = e.Meta().CAS
	case noItem:
		w.countNoSum(f.Command == protocol.BinIncrement)
	}
	return n, cas, what
}

func (w *worker) binFlush() {
	w.counts.add(cmdFlush, 1)
	if w.config.NoFlush {
		w.status(protocol.AuthError)
		return
	}
	exptime := int64(0)
	if len(w.bin.Extras) == 4 {
		exptime = int64(binary.BigEndian.Uint32(w.bin.Extras))
	}
	w.flushAll(exptime)
	w.success(0)
}

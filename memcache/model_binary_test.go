package memcache

import (
	"encoding/binary"
	"fmt"

	"github.com/evmq/evmq/internal/memcache/protocol"
)

// quietOf maps opcodes to the quiet ones of the same meaning.
var quietOf = map[protocol.Opcode]protocol.Opcode{
	protocol.BinGet: protocol.BinGetQ, protocol.BinGetK: protocol.BinGetKQ, protocol.BinGAT: protocol.BinGATQ, protocol.BinGATK: protocol.BinGATKQ,
	protocol.BinSet: protocol.BinSetQ, protocol.BinAdd: protocol.BinAddQ, protocol.BinReplace: protocol.BinReplaceQ,
	protocol.BinAppend: protocol.BinAppendQ, protocol.BinPrepend: protocol.BinPrependQ, protocol.BinDelete: protocol.BinDeleteQ,
	protocol.BinIncrement: protocol.BinIncrementQ, protocol.BinDecrement: protocol.BinDecrementQ, protocol.BinFlush: protocol.BinFlushQ,
}

// binAnswer is an answer to a frame, or none.
type binAnswer struct {
	status             protocol.Status
	cas                uint64
	extras, key, value string
	none               bool
}

// statusOf returns the status for an answer of the text protocol.
func statusOf(command, what string) protocol.Status {
	switch {
	case what == "STORED", what == "DELETED", what == "OK":
		return protocol.Success
	case what == "EXISTS", what == "NOT_STORED" && command == "add":
		return protocol.KeyExists
	case what == "NOT_FOUND", what == "NOT_STORED" && command == "replace":
		return protocol.KeyNotFound
	case what == "NOT_A_NUMBER":
		return protocol.NotNumeric
	}
	return protocol.NotStored
}

// binCommand draws a frame and returns it with the answer of memcached.
func binCommand(d *dice, m *model) (input, want string) {
	key := d.key()
	op := pick(d, protocol.BinSet, protocol.BinAdd, protocol.BinReplace, protocol.BinAppend, protocol.BinPrepend, protocol.BinGet, protocol.BinGetK,
		protocol.BinGAT, protocol.BinGATK, protocol.BinTouch, protocol.BinDelete, protocol.BinIncrement, protocol.BinDecrement, protocol.BinFlush,
		protocol.BinNoop)
	exptime := uint32(d.exptime(m.now))
	expires := m.when(int64(exptime)) // which has no sign here
	cas := uint64(0)
	if d.roll(4) == 0 {
		cas = d.ours(m, key)
	}
	quiet := d.roll(3) == 0 && quietOf[op] != 0
	var extras, value string
	var a binAnswer
	switch op {
	case protocol.BinSet, protocol.BinAdd, protocol.BinReplace, protocol.BinAppend, protocol.BinPrepend:
		value = d.value()
		extras, a = m.binStore(op, key, value, exptime, expires, cas)
	case protocol.BinGet, protocol.BinGetK, protocol.BinGAT, protocol.BinGATK, protocol.BinTouch:
		if op != protocol.BinGet && op != protocol.BinGetK {
			extras = string(binary.BigEndian.AppendUint32(nil, exptime))
		}
		a = m.binLook(op, key, extras != "", expires)
		a.none = quiet && a.status != protocol.Success
		quiet = false // a hit is answered
	case protocol.BinDelete:
		a.status = statusOf("delete", m.remove(key, cas))
	case protocol.BinIncrement, protocol.BinDecrement:
		delta, initial := uint64(d.roll(100)), uint64(d.roll(100))
		if d.roll(4) == 0 {
			exptime = noCreation
		}
		extras = string(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, delta), initial), exptime))
		a = m.binSum(op, key, delta, initial, cas, exptime)
	case protocol.BinFlush:
		key, cas = "", 0
		extras = string(binary.BigEndian.AppendUint32(nil, exptime))
		m.flush(int64(exptime))
	default:
		key, cas = "", 0
	}
	if a.status != protocol.Success && a.value == "" && a.key == "" {
		a.value = a.status.String()
	}
	a.none = a.none || quiet && a.status == protocol.Success
	code := op
	if quiet || a.none {
		code = quietOf[op]
	}
	frame := []byte(binFrame(code, extras, key, value))
	binary.BigEndian.PutUint64(frame[16:], cas)
	if a.none {
		return string(frame), ""
	}
	return string(frame), a.frame(code)
}

// frame returns the bytes of the answer.
func (a *binAnswer) frame(code protocol.Opcode) string {
	b := []byte(binFrame(code, a.extras, a.key, a.value))
	b[0] = protocol.ResponseMagic
	binary.BigEndian.PutUint16(b[6:], uint16(a.status))
	binary.BigEndian.PutUint64(b[16:], a.cas)
	return string(b)
}

func (m *model) binStore(op protocol.Opcode, key, value string, exptime uint32, expires int64, cas uint64) (extras string, a binAnswer) {
	command := map[protocol.Opcode]string{protocol.BinSet: "set", protocol.BinAdd: "add", protocol.BinReplace: "replace",
		protocol.BinAppend: "append", protocol.BinPrepend: "prepend"}[op]
	flags := uint32(0)
	if op != protocol.BinAppend && op != protocol.BinPrepend {
		flags = 5
		extras = string(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, flags), exptime))
		if cas != 0 && !m.noCAS {
			command = "cas"
		}
	}
	what, it := m.store(command, key, value, flags, expires, cas, false)
	if a.status = statusOf(command, what); a.status == protocol.Success {
		a.cas = it.cas
	}
	return extras, a
}

func (m *model) binLook(op protocol.Opcode, key string, touch bool, expires int64) (a binAnswer) {
	it := m.find(key)
	withKey := op == protocol.BinGetK || op == protocol.BinGATK
	if withKey {
		a.key = key
	}
	if it == nil {
		a.status = protocol.KeyNotFound
		return a
	}
	a.cas = it.cas
	a.extras = string(binary.BigEndian.AppendUint32(nil, it.flags))
	if op != protocol.BinTouch {
		a.value = it.value
	}
	if touch {
		it.expires = expires
	}
	return a
}

func (m *model) binSum(op protocol.Opcode, key string, delta, initial, cas uint64, exptime uint32) (a binAnswer) {
	n, what := m.sum(key, op == protocol.BinIncrement, delta, cas)
	if what == "NOT_FOUND" && exptime != noCreation {
		n, what = initial, "OK"
		m.put(key, fmt.Sprint(n), 0, m.when(int64(exptime)))
	}
	if a.status = statusOf("incr", what); a.status == protocol.Success {
		a.cas = m.items[key].cas
		a.value = string(binary.BigEndian.AppendUint64(nil, n))
	}
	return a
}

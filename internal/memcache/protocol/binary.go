package protocol

import "encoding/binary"

// The first byte of a frame.
const (
	RequestMagic  = 0x80
	ResponseMagic = 0x81
)

// HeaderLen is the length of a frame's header.
const HeaderLen = 24

// Opcode is a command of the binary protocol.
type Opcode uint8

// The opcodes, as the protocol numbers them.
const (
	BinGet        Opcode = 0x00
	BinSet        Opcode = 0x01
	BinAdd        Opcode = 0x02
	BinReplace    Opcode = 0x03
	BinDelete     Opcode = 0x04
	BinIncrement  Opcode = 0x05
	BinDecrement  Opcode = 0x06
	BinQuit       Opcode = 0x07
	BinFlush      Opcode = 0x08
	BinGetQ       Opcode = 0x09
	BinNoop       Opcode = 0x0a
	BinVersion    Opcode = 0x0b
	BinGetK       Opcode = 0x0c
	BinGetKQ      Opcode = 0x0d
	BinAppend     Opcode = 0x0e
	BinPrepend    Opcode = 0x0f
	BinStat       Opcode = 0x10
	BinSetQ       Opcode = 0x11
	BinAddQ       Opcode = 0x12
	BinReplaceQ   Opcode = 0x13
	BinDeleteQ    Opcode = 0x14
	BinIncrementQ Opcode = 0x15
	BinDecrementQ Opcode = 0x16
	BinQuitQ      Opcode = 0x17
	BinFlushQ     Opcode = 0x18
	BinAppendQ    Opcode = 0x19
	BinPrependQ   Opcode = 0x1a
	BinTouch      Opcode = 0x1c
	BinGAT        Opcode = 0x1d
	BinGATQ       Opcode = 0x1e
	BinSASLList   Opcode = 0x20
	BinSASLAuth   Opcode = 0x21
	BinSASLStep   Opcode = 0x22
	BinGATK       Opcode = 0x23
	BinGATKQ      Opcode = 0x24
)

// nonQuiet maps each quiet opcode to the opcode with the same meaning that is always answered. Other opcodes map to 0, which is BinGet.
var nonQuiet = [256]Opcode{
	BinGetKQ: BinGetK, BinSetQ: BinSet, BinAddQ: BinAdd, BinReplaceQ: BinReplace, BinDeleteQ: BinDelete,
	BinIncrementQ: BinIncrement, BinDecrementQ: BinDecrement, BinQuitQ: BinQuit, BinFlushQ: BinFlush, BinAppendQ: BinAppend,
	BinPrependQ: BinPrepend, BinGATQ: BinGAT, BinGATKQ: BinGATK,
}

// Status is the outcome of a request of the binary protocol.
type Status uint16

// The statuses.
const (
	Success        Status = 0x00
	KeyNotFound    Status = 0x01
	KeyExists      Status = 0x02
	TooLarge       Status = 0x03
	Invalid        Status = 0x04
	NotStored      Status = 0x05
	NotNumeric     Status = 0x06
	AuthError      Status = 0x20
	UnknownCommand Status = 0x81
	OutOfMemory    Status = 0x82
)

// String returns the body of an answer with this status.
func (s Status) String() string {
	switch s {
	case Success:
		return ""
	case KeyNotFound:
		return "Not found"
	case KeyExists:
		return "Data exists for key."
	case TooLarge:
		return "Too large."
	case Invalid:
		return "Invalid arguments"
	case NotStored:
		return "Not stored."
	case NotNumeric:
		return "Non-numeric server-side value for incr or decr"
	case AuthError:
		return "Auth failure."
	case OutOfMemory:
		return "Out of memory"
	}
	return "Unknown command"
}

// A Frame is a request of the binary protocol.
type Frame struct {
	Opcode  Opcode // as received
	Command Opcode // the same command without quiet
	Quiet   bool
	Opaque  uint32
	CAS     uint64
	Body    int // length of what follows the header

	keyLen, extraLen int
	Extras           []byte
	Key              []byte
	Value            []byte
}

// Header parses a frame's header, which p must contain completely. ok is false if it is not a request.
func Header(p []byte, f *Frame) (ok bool) {
	if p[0] != RequestMagic {
		return false
	}
	*f = Frame{
		Opcode: Opcode(p[1]), keyLen: int(binary.BigEndian.Uint16(p[2:])), extraLen: int(p[4]),
		Body: int(binary.BigEndian.Uint32(p[8:])), Opaque: binary.BigEndian.Uint32(p[12:]), CAS: binary.BigEndian.Uint64(p[16:]),
	}
	f.Command = f.Opcode
	if l := nonQuiet[f.Opcode]; l != 0 || f.Opcode == BinGetQ {
		f.Command, f.Quiet = l, true
	}
	return true
}

// ValueLen returns the length of the value in bytes.
func (f *Frame) ValueLen() int { return f.Body - f.keyLen - f.extraLen }

// Prefix returns the number of bytes of the body before the value.
func (f *Frame) Prefix() int { return f.keyLen + f.extraLen }

// Check returns Success, or the error for a frame whose lengths are invalid. The connection must be closed then, except after UnknownCommand
// for an opcode that is not defined.
func (f *Frame) Check() Status {
	if f.keyLen+f.extraLen > f.Body {
		return UnknownCommand
	}
	if f.keyLen > MaxKey {
		return Invalid
	}
	key, extras, value := f.keyLen > 0, f.extraLen, f.ValueLen() > 0
	var ok bool
	switch f.Command {
	case BinVersion, BinNoop, BinQuit, BinSASLList:
		ok = !key && extras == 0 && !value
	case BinFlush:
		ok = !key && !value && (extras == 0 || extras == 4)
	case BinSet, BinAdd, BinReplace:
		ok = key && extras == 8
	case BinGet, BinGetK, BinDelete:
		ok = key && extras == 0 && !value
	case BinIncrement, BinDecrement:
		ok = key && extras == 20 && !value
	case BinAppend, BinPrepend, BinSASLAuth, BinSASLStep:
		ok = key && extras == 0
	case BinStat:
		ok = extras == 0
	case BinTouch, BinGAT, BinGATK:
		ok = key && extras == 4
	default:
		return UnknownCommand
	}
	if !ok {
		return Invalid
	}
	return Success
}

// Split sets Extras, Key and, as far as body contains it, Value to parts of body.
func (f *Frame) Split(body []byte) {
	f.Extras, f.Key, f.Value = body[:f.extraLen], body[f.extraLen:f.Prefix()], body[f.Prefix():]
}

// AppendResponse appends the header of an answer to f, extras and key. The caller appends the value, of value bytes.
func AppendResponse(b []byte, f *Frame, status Status, cas uint64, extras, key []byte, value int) []byte {
	var h [HeaderLen]byte
	h[0], h[1] = ResponseMagic, byte(f.Opcode)
	binary.BigEndian.PutUint16(h[2:], uint16(len(key)))
	h[4] = byte(len(extras))
	binary.BigEndian.PutUint16(h[6:], uint16(status))
	binary.BigEndian.PutUint32(h[8:], uint32(len(extras)+len(key)+value))
	binary.BigEndian.PutUint32(h[12:], f.Opaque)
	binary.BigEndian.PutUint64(h[16:], cas)
	b = append(b, h[:]...)
	b = append(b, extras...)
	return append(b, key...)
}

// AppendStatus appends an answer that consists of a status and its text.
func AppendStatus(b []byte, f *Frame, status Status) []byte {
	words := status.String()
	b = AppendResponse(b, f, status, 0, nil, nil, len(words))
	return append(b, words...)
}

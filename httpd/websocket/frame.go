package websocket

import (
	"encoding/binary"
	"math"

	"github.com/gobwas/ws"
)

// A MessageType is the type of a message: text, which is UTF-8, or bytes.
type MessageType uint8

// The types of messages.
const (
	Text   = MessageType(ws.OpText)
	Binary = MessageType(ws.OpBinary)
)

// String returns the name of the type. Any goroutine.
func (t MessageType) String() string {
	switch t {
	case Text:
		return "text"
	case Binary:
		return "binary"
	}
	return "invalid"
}

// maxHeader is the length of the longest header of a frame.
const maxHeader = ws.MaxHeaderSize

// rsv1 is the bit of ws.Header.Rsv that marks a compressed message.
const rsv1 = 1 << 2

// parseHeader reads the header at the beginning of p, and returns its length: 0 if it is not complete. Package ws has no such function: its own
// reads from an io.Reader, and accepts lengths in more bytes than they need.
func parseHeader(p []byte) (h ws.Header, n int, err error) {
	if len(p) < 2 {
		return h, 0, nil
	}
	h = ws.Header{Fin: p[0]&0x80 != 0, Rsv: p[0] & 0x70 >> 4, OpCode: ws.OpCode(p[0] & 0x0f), Masked: p[1]&0x80 != 0}
	length := p[1] & 0x7f
	n = 2
	switch length {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	maskAt := n
	if h.Masked {
		n += 4
	}
	if len(p) < n {
		return h, 0, nil
	}
	least := uint64(0)
	size := uint64(length)
	switch length {
	case 126:
		size, least = uint64(binary.BigEndian.Uint16(p[2:])), 126
	case 127:
		size, least = binary.BigEndian.Uint64(p[2:]), math.MaxUint16+1
	}
	if size < least || size > math.MaxInt64 {
		return h, 0, violation(CloseProtocolError, "invalid length of a frame")
	}
	h.Length = int64(size)
	if h.Masked {
		copy(h.Mask[:], p[maskAt:])
	}
	return h, n, nil
}

// appendHeader appends the header of a final frame with a payload of n bytes.
func appendHeader(b []byte, first byte, n int, mask *[4]byte) []byte {
	bit := byte(0)
	if mask != nil {
		bit = 0x80
	}
	b = append(b, first)
	switch {
	case n < 126:
		b = append(b, bit|byte(n))
	case n <= math.MaxUint16:
		b = binary.BigEndian.AppendUint16(append(b, bit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, bit|127), uint64(n))
	}
	if mask != nil {
		b = append(b, mask[:]...)
	}
	return b
}

// firstByte returns the first byte of a final frame.
func firstByte(op ws.OpCode, compressed bool) byte {
	b := 0x80 | byte(op)
	if compressed {
		b |= rsv1 << 4
	}
	return b
}

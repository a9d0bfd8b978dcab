package framing

import (
	"encoding/binary"
	"fmt"
)

// Varint begins a message with its length as an unsigned varint, that of encoding/binary and of protocol buffers. A varint of more than 64
// bits is ErrMalformed. A varint with more bytes than its value needs is ErrMalformed, too, so that a message has only one form. A length
// above Max is ErrTooLong before the message has arrived.
type Varint struct {
	// Max is the length of the longest message in bytes. 0 means DefaultMax; LargestMax is the most. A negative value is ErrInvalid.
	Max int
}

// Check reports invalid fields. Errors: ErrInvalid. Any goroutine.
func (f Varint) Check() error { return checkMax("varint", f.Max) }

// MaxLen returns Max plus the length of its varint, and at least the length of the longest varint, which is read whole before it is checked. Any
// goroutine.
func (f Varint) MaxLen() int {
	var header [binary.MaxVarintLen64]byte
	most := limit(f.Max)
	return max(len(header), binary.PutUvarint(header[:], uint64(most))+most)
}

// Next implements Framing. Any goroutine.
func (f Varint) Next(data []byte, _ int, atEOF bool) (Result, error) {
	most := limit(f.Max)
	if most == 0 {
		return Result{}, f.Check()
	}
	prefix := data[:min(len(data), binary.MaxVarintLen64)]
	length, header := binary.Uvarint(prefix)
	switch {
	case header < 0 || header == 0 && len(prefix) == binary.MaxVarintLen64:
		return Result{}, fmt.Errorf("varint: %w: length % x of more than 64 bits", ErrMalformed, prefix)
	case header == 0:
		return incomplete("varint", data, 0, atEOF)
	case header > 1 && data[header-1] == 0:
		return Result{}, fmt.Errorf("varint: %w: length %d in %d bytes", ErrMalformed, length, header)
	}
	return measured("varint", data, header, length, most, atEOF)
}

// AppendVarint appends to dst the length of payload as an unsigned varint, and payload. Any goroutine.
func AppendVarint(dst, payload []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(payload))), payload...)
}

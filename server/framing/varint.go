package framing

import (
	"encoding/binary"
	"fmt"
)

// Varint begins a message with its length as an unsigned varint, that of encoding/binary and of protocol buffers. A varint of more
// than 64 bits is ErrMalformed, and so is one with more bytes than its value needs, so that a message has one form. No
// message is longer than limit bytes, which the length says before they come; 0 means DefaultMax. Any goroutine.
func Varint(limit int) Framing {
	return limited("varint", limit, func(limit int) Framing { return &varint{limit} })
}

type varint struct{ limit int }

// MaxLen leaves room for the longest varint, since it is read before it is judged.
func (f *varint) MaxLen() int {
	var header [binary.MaxVarintLen64]byte
	return max(len(header), binary.PutUvarint(header[:], uint64(f.limit))+f.limit)
}

func (f *varint) Next(data []byte, _ int, atEOF bool) (n int, message []byte, next int, err error) {
	prefix := data[:min(len(data), binary.MaxVarintLen64)]
	length, header := binary.Uvarint(prefix)
	switch {
	case header < 0 || header == 0 && len(prefix) == binary.MaxVarintLen64:
		return 0, nil, 0, fmt.Errorf("varint: %w: length % x of more than 64 bits", ErrMalformed, prefix)
	case header == 0:
		return incomplete("varint", data, 0, atEOF)
	case header > 1 && data[header-1] == 0:
		return 0, nil, 0, fmt.Errorf("varint: %w: length %d in %d bytes", ErrMalformed, length, header)
	}
	return measured("varint", data, header, length, f.limit, atEOF)
}

// AppendVarint appends to dst the length of payload as an unsigned varint, and payload. Any goroutine.
func AppendVarint(dst, payload []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(payload))), payload...)
}

package framing

import (
	"encoding/binary"
	"fmt"
)

// LengthPrefix begins a message with its length, in size bytes, 1, 2, 4 or 8, of the given order: binary.BigEndian or
// binary.LittleEndian. The length is unsigned and counts neither itself nor anything but the message. No message is longer than
// limit bytes, which the length says before they come; 0 means DefaultMax. Any goroutine.
func LengthPrefix(size int, order binary.ByteOrder, limit int) Framing {
	if err := checkPrefix(size, order); err != nil {
		return invalid{err}
	}
	return limited("length prefix", limit, func(limit int) Framing {
		return &lengthPrefix{order, size, int(min(uint64(limit), largest(size)))}
	})
}

type lengthPrefix struct {
	order binary.ByteOrder
	size  int
	limit int
}

func (f *lengthPrefix) MaxLen() int { return f.size + f.limit }

func (f *lengthPrefix) Next(data []byte, _ int, atEOF bool) (n int, message []byte, next int, err error) {
	if len(data) < f.size {
		return incomplete("length prefix", data, 0, atEOF)
	}
	var length uint64
	switch f.size {
	case 1:
		length = uint64(data[0])
	case 2:
		length = uint64(f.order.Uint16(data))
	case 4:
		length = uint64(f.order.Uint32(data))
	default:
		length = f.order.Uint64(data)
	}
	return measured("length prefix", data, f.size, length, f.limit, atEOF)
}

// AppendLengthPrefix appends to dst the length of payload, in size bytes of the given order, and payload. A payload whose
// length has no room in size bytes is ErrTooLong, a size or an order that LengthPrefix does not take ErrInvalid; then dst is
// returned as it was. Any goroutine.
func AppendLengthPrefix(dst, payload []byte, size int, order binary.ByteOrder) ([]byte, error) {
	if err := checkPrefix(size, order); err != nil {
		return dst, err
	}
	length := uint64(len(payload))
	if length > largest(size) {
		return dst, fmt.Errorf("length prefix: %w: %d bytes, at most %d", ErrTooLong, length, largest(size))
	}
	var zeros [8]byte
	dst = append(dst, zeros[:size]...)
	prefix := dst[len(dst)-size:]
	switch size {
	case 1:
		prefix[0] = byte(length)
	case 2:
		order.PutUint16(prefix, uint16(length))
	case 4:
		order.PutUint32(prefix, uint32(length))
	default:
		order.PutUint64(prefix, length)
	}
	return append(dst, payload...), nil
}

// largest is the largest length that has room in size bytes.
func largest(size int) uint64 { return 1<<(8*size) - 1 }

// checkPrefix lets a single byte have no order.
func checkPrefix(size int, order binary.ByteOrder) error {
	switch size {
	case 1, 2, 4, 8:
	default:
		return fmt.Errorf("length prefix: %w: size of %d bytes", ErrInvalid, size)
	}
	if order == nil && size > 1 {
		return fmt.Errorf("length prefix: %w: nil byte order", ErrInvalid)
	}
	return nil
}

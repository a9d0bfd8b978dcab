package framing

import (
	"encoding/binary"
	"fmt"
)

// LengthPrefix begins a message with its length, which is unsigned and counts the bytes of the message alone. A length above Max is
// ErrTooLong before the message has arrived.
type LengthPrefix struct {
	// Size is the size of the length in bytes: 1, 2, 4 or 8. Required.
	Size int
	// Order is the byte order of the length, binary.BigEndian or binary.LittleEndian. Required if Size is more than 1.
	Order binary.ByteOrder
	// Max is the length of the longest message in bytes. 0 means DefaultMax; LargestMax is the most. A negative value is ErrInvalid. A
	// maximum that Size bytes cannot express has no effect.
	Max int
}

// Check reports invalid fields. Errors: ErrInvalid. Any goroutine.
func (f LengthPrefix) Check() error {
	if err := checkPrefix(f.Size, f.Order); err != nil {
		return err
	}
	return checkMax("length prefix", f.Max)
}

// MaxLen returns Size plus the length of the longest message. Any goroutine.
func (f LengthPrefix) MaxLen() int { return f.Size + f.limit() }

// limit returns the length of the longest message: 0 if a field is invalid.
func (f LengthPrefix) limit() int {
	switch f.Size {
	case 1, 2, 4, 8:
	default:
		return 0
	}
	return int(min(uint64(limit(f.Max)), largest(f.Size)))
}

// Next implements Framing. Any goroutine.
func (f LengthPrefix) Next(data []byte, _ int, atEOF bool) (Result, error) {
	most := f.limit()
	if most == 0 || f.Order == nil && f.Size > 1 {
		return Result{}, f.Check()
	}
	if len(data) < f.Size {
		return incomplete("length prefix", data, 0, atEOF)
	}
	var length uint64
	switch f.Size {
	case 1:
		length = uint64(data[0])
	case 2:
		length = uint64(f.Order.Uint16(data))
	case 4:
		length = uint64(f.Order.Uint32(data))
	default:
		length = f.Order.Uint64(data)
	}
	return measured("length prefix", data, f.Size, length, most, atEOF)
}

// AppendLengthPrefix appends to dst the length of payload, in size bytes of the given order, and payload. A payload whose length does not
// fit in size bytes is ErrTooLong, a size or an order that LengthPrefix does not support ErrInvalid; then dst is returned unchanged. Any
// goroutine.
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

// largest returns the largest length that fits in size bytes.
func largest(size int) uint64 { return 1<<(8*size) - 1 }

// checkPrefix checks the size and the order. A single byte needs no order.
func checkPrefix(size int, order binary.ByteOrder) error {
	switch size {
	case 1, 2, 4, 8:
	default:
		return fmt.Errorf("length prefix: %w: size is %d, not 1, 2, 4 or 8", ErrInvalid, size)
	}
	if order == nil && size > 1 {
		return fmt.Errorf("length prefix: %w: order is nil", ErrInvalid)
	}
	return nil
}

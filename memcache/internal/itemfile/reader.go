package itemfile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// firstPiece is the memory in bytes that is allocated before any byte of a body is read. It grows as bytes are read.
const firstPiece = 64 << 10

// Reader reads a file item by item. It is not for concurrent use.
type Reader struct {
	in     *bufio.Reader
	limit  int
	header Header
	head   [headerSize]byte
	body   []byte // of the last item: key and value
	count  uint64
}

// NewReader reads the header. Values of more than limit bytes are omitted. Errors: ErrForeign, ErrVersion, ErrDamaged, and those of r.
func NewReader(r io.Reader, limit int) (*Reader, error) {
	f := &Reader{in: bufio.NewReaderSize(r, bufferSize), limit: limit}
	b := f.head[:]
	n, err := io.ReadFull(f.in, b)
	switch {
	case err != nil && !isEnd(err):
		return nil, fmt.Errorf("read the header: %w", err)
	case n < len(magic) || string(b[:len(magic)]) != magic:
		return nil, fmt.Errorf("read the header: %w", ErrForeign)
	case n < len(b):
		return nil, damaged("the header is cut short")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != Version {
		return nil, fmt.Errorf("read the header: %w: %d instead of %d", ErrVersion, v, Version)
	}
	if !intact(b) {
		return nil, damaged("the header's checksum is wrong")
	}
	f.header = Header{
		Saved: int64(binary.LittleEndian.Uint64(b[16:])), Flush: int64(binary.LittleEndian.Uint64(b[24:])), CAS: binary.LittleEndian.Uint64(b[32:]),
	}
	return f, nil
}

// Header returns the header.
func (f *Reader) Header() Header { return f.header }

// Next reads the next item. Errors: io.EOF after the last item of a complete file, ErrDamaged, and those of the underlying reader.
func (f *Reader) Next(it *Item) error {
	b := f.head[:headSize]
	if err := f.read(b, "the head of an item"); err != nil {
		return err
	}
	if !intact(b) {
		return f.damaged("the checksum of a head is wrong")
	}
	switch b[0] {
	case kindItem:
	case kindEnd:
		return f.end(binary.LittleEndian.Uint64(b[24:]))
	default:
		return f.damaged(fmt.Sprintf("there is no kind %d", b[0]))
	}
	key, value := int(b[1]), int64(binary.LittleEndian.Uint32(b[8:]))
	if key == 0 {
		return f.damaged("an item has no key")
	}
	*it = Item{
		Bits: b[2], Fetched: b[3] != 0, Flags: binary.LittleEndian.Uint32(b[4:]),
		Expires: int64(binary.LittleEndian.Uint64(b[16:])), CAS: binary.LittleEndian.Uint64(b[24:]),
	}
	f.count++
	it.TooLarge = value > int64(f.limit)
	sum, err := f.readBody(key, value, it.TooLarge)
	if err != nil {
		return err
	}
	it.Key, it.Value = f.body[:key:key], f.body[key:]
	if it.TooLarge {
		it.Value = nil
	}
	if err := f.read(b[:sumSize], "a checksum"); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(b) != sum {
		return f.damaged("the checksum of an item is wrong")
	}
	return nil
}

// readBody reads a key and a value into f.body and returns their checksum. It reads in pieces, so that a wrong length does not allocate memory
// for bytes that do not exist. Each piece of a value that is omitted overwrites the previous one.
func (f *Reader) readBody(key int, value int64, leaveOut bool) (sum uint32, err error) {
	f.body = slices.Grow(f.body[:0], key)[:key]
	if err := f.read(f.body, "a key"); err != nil {
		return 0, err
	}
	sum = crc32.Checksum(f.body, castagnoli)
	for value > 0 {
		from := len(f.body)
		if leaveOut {
			from = key
		}
		piece := int(min(value, max(firstPiece, int64(from))))
		f.body = slices.Grow(f.body[:from], piece)[:from+piece]
		if err := f.read(f.body[from:], "a value"); err != nil {
			return 0, err
		}
		sum = crc32.Update(sum, castagnoli, f.body[from:])
		value -= int64(piece)
	}
	return sum, nil
}

// end returns io.EOF if the number of items is right and nothing follows.
func (f *Reader) end(count uint64) error {
	if count != f.count {
		return f.damaged(fmt.Sprintf("the end states %d items", count))
	}
	switch _, err := f.in.ReadByte(); {
	case err == nil:
		return f.damaged("there is more behind the end")
	case !errors.Is(err, io.EOF):
		return err
	}
	return io.EOF
}

// read fills b. A file that ends earlier is damaged.
func (f *Reader) read(b []byte, what string) error {
	_, err := io.ReadFull(f.in, b)
	if isEnd(err) {
		return f.damaged(what + " is cut short")
	}
	return err
}

// damaged returns ErrDamaged with the number of the item.
func (f *Reader) damaged(why string) error {
	return fmt.Errorf("read item %d: %w", f.count+1, damaged(why))
}

func damaged(why string) error { return fmt.Errorf("%w: %s", ErrDamaged, why) }

func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// intact reports whether b ends with the checksum of the bytes before it.
func intact(b []byte) bool {
	n := len(b) - sumSize
	return binary.LittleEndian.Uint32(b[n:]) == crc32.Checksum(b[:n], castagnoli)
}

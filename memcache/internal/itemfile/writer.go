package itemfile

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// bufferSize is the size in bytes of the buffer of a Reader and of a Writer.
const bufferSize = 256 << 10

// Writer writes a file item by item. After an error of the underlying writer nothing more can be written. It is not for concurrent use.
type Writer struct {
	out   *bufio.Writer
	head  []byte // empty, with room for a head
	count uint64
}

// NewWriter writes the header. Errors are those of w.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	f := &Writer{out: bufio.NewWriterSize(w, bufferSize), head: make([]byte, 0, headerSize)}
	b := f.head
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, Version)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Saved))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Flush))
	b = binary.LittleEndian.AppendUint64(b, h.CAS)
	return f, f.writeHead(b)
}

// Write writes an item. The key must have 1 to 255 bytes and the value less than 4 GB; otherwise Write returns an error, and the file can be
// continued without the item. Other errors are those of the underlying writer.
func (f *Writer) Write(it *Item) error {
	if len(it.Key) == 0 || len(it.Key) > math.MaxUint8 || uint64(len(it.Value)) > math.MaxUint32 {
		return fmt.Errorf("write item: a key of %d bytes and a value of %d cannot be written", len(it.Key), len(it.Value))
	}
	fetched := byte(0)
	if it.Fetched {
		fetched = 1
	}
	b := f.head
	b = append(b, kindItem, byte(len(it.Key)), it.Bits, fetched)
	b = binary.LittleEndian.AppendUint32(b, it.Flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(it.Value)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(it.Expires))
	b = binary.LittleEndian.AppendUint64(b, it.CAS)
	if err := f.writeHead(b); err != nil {
		return err
	}
	f.count++
	sum := crc32.Update(crc32.Checksum(it.Key, castagnoli), castagnoli, it.Value)
	// A bufio.Writer repeats its first error.
	_, _ = f.out.Write(it.Key)
	_, _ = f.out.Write(it.Value)
	_, err := f.out.Write(binary.LittleEndian.AppendUint32(f.head, sum))
	return err
}

// Count returns the number of items written.
func (f *Writer) Count() int { return int(f.count) }

// Close writes the end, without which the file is damaged. It does not close the underlying writer.
func (f *Writer) Close() error {
	b := f.head
	b = append(b, kindEnd)
	b = append(b, make([]byte, headSize-sumSize-8-1)...)
	b = binary.LittleEndian.AppendUint64(b, f.count)
	if err := f.writeHead(b); err != nil {
		return err
	}
	return f.out.Flush()
}

// writeHead writes b and its checksum.
func (f *Writer) writeHead(b []byte) error {
	_, err := f.out.Write(binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)))
	return err
}

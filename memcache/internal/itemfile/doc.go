// Package itemfile reads and writes the file that keeps a cache's items over a restart. It is independent of the store.
//
// All numbers are little-endian. The checksums are CRC-32C.
//
//	header   magic, version, 0 (4 bytes each but the magic's 8), time of saving, pending flush, unique number (8 each), checksum of these
//	item     kind 1, length of the key, bits, fetched (1 each), flags, length of the value (4 each), 0 (4), expiry, unique number (8
//	         each), checksum of these; key; value; checksum of key and value
//	end      kind 2, 23 zeros, number of the items (8), checksum of these; then nothing
//
// The head of an item has its own checksum, so that a damaged length is detected before it is used. The end distinguishes a complete file from
// one truncated between two items.
package itemfile

import (
	"errors"
	"hash/crc32"
)

// Version is the version of the format. Other versions are refused.
const Version = 1

const (
	magic      = "evmqitem"
	headerSize = 8 + 4 + 4 + 3*8 + 4
	headSize   = 4 + 3*4 + 2*8 + 4
	sumSize    = 4
)

// Kinds of heads.
const (
	kindItem = 1
	kindEnd  = 2
)

// Errors of a Reader.
var (
	// ErrForeign means that the file was not written by a Writer.
	ErrForeign = errors.New("not a file of items")
	// ErrVersion means that the file has another version of the format.
	ErrVersion = errors.New("unknown version of the format")
	// ErrDamaged means that the file is truncated or was changed.
	ErrDamaged = errors.New("damaged file")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is the data of a file besides its items.
type Header struct {
	Saved int64  // seconds since 1970
	Flush int64  // last second that a pending flush_all covers; 0 for none
	CAS   uint64 // no item has a greater unique number
}

// Item is an item of a file. Key and Value of an item from a Reader are valid until the next call of Next.
type Item struct {
	Key, Value []byte
	TooLarge   bool // the value is longer than the Reader's limit, and omitted
	Flags      uint32
	Expires    int64 // seconds since 1970; 0 for never
	CAS        uint64
	Bits       uint8
	Fetched    bool
}

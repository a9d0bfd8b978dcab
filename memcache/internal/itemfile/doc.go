// Package itemfile is the format of the file that keeps a cache's items over a restart. It knows nothing of the store.
//
// All numbers are little-endian. The checksums are CRC-32C.
//
//	header   magic, version, 0 (4 bytes each but the magic's 8), time of saving, pending flush, unique number (8 each), checksum of these
//	item     kind 1, length of the key, bits, fetched (1 each), flags, length of the value (4 each), 0 (4), expiry, unique number (8
//	         each), checksum of these; key; value; checksum of key and value
//	end      kind 2, 23 zeros, number of the items (8), checksum of these; then nothing
//
// A head has a checksum of its own, so that no length is believed that was not written. The end tells a whole file from one that was cut
// short between two items.
package itemfile

import (
	"errors"
	"hash/crc32"
)

// Version is the only one that is read.
const Version = 1

const (
	magic      = "evmqitem"
	headerSize = 8 + 4 + 4 + 3*8 + 4
	headSize   = 4 + 3*4 + 2*8 + 4
	sumSize    = 4
)

// The kinds of a head.
const (
	kindItem = 1
	kindEnd  = 2
)

// The reasons for which a file is refused.
var (
	// ErrForeign is of a file that something else has written.
	ErrForeign = errors.New("it is not a file of items")
	// ErrVersion is of a file of another version of the format.
	ErrVersion = errors.New("it has another version of the format")
	// ErrDamaged is of a file that is cut short, or is not as it was written.
	ErrDamaged = errors.New("it is damaged")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is what a file says about all items.
type Header struct {
	Saved int64  // seconds since 1970
	Flush int64  // the second through whose end what was stored is to be kept and no longer; 0 for none
	CAS   uint64 // no item has a greater unique number
}

// Item is one of the items. A Reader's Key and Value are valid until the next call of Next.
type Item struct {
	Key, Value []byte
	TooLarge   bool // the value is longer than the Reader's limit, and left out
	Flags      uint32
	Expires    int64 // seconds since 1970; 0 for never
	CAS        uint64
	Bits       uint8
	Fetched    bool
}

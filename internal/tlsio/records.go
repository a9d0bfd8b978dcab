package tlsio

const (
	// MaxRecord is the most plain text that one record holds.
	MaxRecord = 16 << 10
	// maxCiphertext is the most that follows the header of a record: RFC 5246 allows 2 KB for the cipher and 1.3 less.
	maxCiphertext = MaxRecord + 2048
	// headerSize is the size of a record's header: type, version and length.
	headerSize = 5
)

// Records counts the records in a stream of bytes. The zero Records is at the beginning of a stream. It is not safe for concurrent use.
type Records struct {
	head  [headerSize]byte
	have  uint8  // bytes of head
	size  uint16 // of the record whose head that is
	left  uint16 // bytes of the record that are still to come
	whole int
}

// Add adds the next bytes of the stream.
func (r *Records) Add(b []byte) {
	for len(b) > 0 {
		if r.have < headerSize {
			n := copy(r.head[r.have:], b)
			b = b[n:]
			if r.have += uint8(n); r.have < headerSize {
				return
			}
			r.size = uint16(r.head[3])<<8 | uint16(r.head[4])
			r.left = r.size
		}
		n := min(int(r.left), len(b))
		b = b[n:]
		if r.left -= uint16(n); r.left == 0 {
			r.have = 0
			r.whole++
		}
	}
}

// Whole returns the number of records that are complete and not yet counted as decrypted.
func (r *Records) Whole() int { return r.whole }

// Partial returns the number of bytes at the end of the stream that belong to a record that is not complete. Bytes that cannot become a
// record are not partial: crypto/tls is to see them and to report the error.
func (r *Records) Partial() int {
	switch {
	case r.have < headerSize:
		return int(r.have)
	case r.size > maxCiphertext || !isRecord(r.head[:]):
		return 0
	}
	return headerSize + int(r.size-r.left)
}

// isRecord reports whether a record may begin with this header, the length aside.
func isRecord(head []byte) bool { return head[0] >= 20 && head[0] <= 24 && head[1] == 3 }

// Decrypted counts one record as decrypted, and reports whether the stream holds nothing more, not even the beginning of another record. It
// may report false although nothing is left, since one call of tls.Conn.Read may decrypt several records that hold no data.
func (r *Records) Decrypted() (empty bool) {
	r.whole--
	return r.whole <= 0 && r.have == 0
}

// AllDecrypted counts all complete records as decrypted: crypto/tls has asked for more.
func (r *Records) AllDecrypted() { r.whole = 0 }

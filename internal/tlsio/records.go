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
	have  int // bytes of head
	size  int // of the record whose head that is
	left  int // bytes of the record that are still to come
	whole int
}

// Add adds the next bytes of the stream.
func (r *Records) Add(b []byte) {
	for len(b) > 0 {
		if r.have < headerSize {
			n := copy(r.head[r.have:], b)
			b = b[n:]
			if r.have += n; r.have < headerSize {
				return
			}
			r.size = int(r.head[3])<<8 | int(r.head[4])
			r.left = r.size
		}
		n := min(r.left, len(b))
		b = b[n:]
		if r.left -= n; r.left == 0 {
			r.have = 0
			r.whole++
		}
	}
}

// Whole is the number of records that are complete and not yet counted as decrypted.
func (r *Records) Whole() int { return r.whole }

// Partial is the number of bytes at the end of the stream that belong to a record that is not complete. Bytes that cannot become a record
// are not partial: crypto/tls is to see them and to report the error.
func (r *Records) Partial() int {
	switch {
	case r.have < headerSize:
		return r.have
	case r.size > maxCiphertext, r.head[0] < 20, r.head[0] > 24, r.head[1] != 3:
		return 0
	}
	return headerSize + r.size - r.left
}

// Decrypted counts one record as decrypted, and reports whether the stream holds nothing more, not even the beginning of another record. It
// may report false although nothing is left, since one call of tls.Conn.Read may decrypt several records that hold no data.
func (r *Records) Decrypted() (empty bool) {
	r.whole--
	return r.whole <= 0 && r.have == 0
}

// AllDecrypted counts all complete records as decrypted: crypto/tls has asked for more.
func (r *Records) AllDecrypted() { r.whole = 0 }

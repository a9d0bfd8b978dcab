package tlsio_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/evmq/evmq/internal/tlsio"
)

// TestRecordsAreCountedInPiecesOfAnySize, records without bytes too.
func TestRecordsAreCountedInPiecesOfAnySize(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		var stream []byte
		ends := map[int]bool{0: true}
		for range random.IntN(20) {
			n := random.IntN(4) * random.IntN(100)
			stream = binary.BigEndian.AppendUint16(append(stream, 23, 3, 3), uint16(n))
			stream = append(stream, make([]byte, n)...)
			ends[len(stream)] = true
		}
		var r tlsio.Records
		whole, last := 0, 0
		for at := 0; at < len(stream); {
			from := at
			at += 1 + random.IntN(min(len(stream)-at, 150))
			r.Add(stream[from:at])
			for end := range ends {
				if from < end && end <= at {
					whole++
					last = max(last, end)
				}
			}
			if r.Partial() != at-last || r.Whole() != whole {
				t.Fatalf("seed %d: after %d bytes it counts %d records and %d bytes, want %d and %d", seed, at, r.Whole(), r.Partial(), whole, at-last)
			}
		}
	}
}

// TestBytesThatCannotBecomeARecordAreNotPartial.
func TestBytesThatCannotBecomeARecordAreNotPartial(t *testing.T) {
	for _, row := range []struct {
		head string
		want int
	}{
		{"\x17\x03\x03\x00", 4}, {"\x17\x03\x03\x00\x10", 5}, {"\x17\x03\x03\x48\x00", 5},
		{"\x17\x03\x03\x48\x01", 0}, {"\x13\x03\x03\x00\x10", 0}, {"\x19\x03\x03\x00\x10", 0}, {"GET /", 0},
	} {
		var r tlsio.Records
		r.Add([]byte(row.head))
		if n := r.Partial(); n != row.want {
			t.Errorf("%q has %d partial bytes, want %d", row.head, n, row.want)
		}
	}
}

// TestDecryptedRecordsLeaveAnEmptyStream only if no other record has begun.
func TestDecryptedRecordsLeaveAnEmptyStream(t *testing.T) {
	var r tlsio.Records
	record := []byte{23, 3, 3, 0, 1, 'x'}
	r.Add(record)
	r.Add(record)
	if r.Decrypted() || !r.Decrypted() {
		t.Error("two records are not empty after two")
	}
	r.Add(record)
	r.Add(record[:1])
	if r.Decrypted() {
		t.Error("a stream is empty though a record has begun")
	}
	r.Add(record[1:])
	r.AllDecrypted()
	if r.Whole() != 0 {
		t.Errorf("%d records are left", r.Whole())
	}
}

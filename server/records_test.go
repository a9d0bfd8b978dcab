package server_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/evmq/evmq/server"
)

// TestRecordsAreCountedHoweverTheyCome, in pieces of any size, records without bytes too.
func TestRecordsAreCountedHoweverTheyCome(t *testing.T) {
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
		var r server.Records
		whole := 0
		for at := 0; at < len(stream); {
			from := at
			at += 1 + random.IntN(min(len(stream)-at, 150))
			r.Add(stream[from:at])
			for end := range ends {
				if from < end && end <= at {
					whole++
				}
			}
			if r.InOne() == ends[at] || r.Whole() != whole {
				t.Fatalf("seed %d: after %d bytes it counts %d records, want %d; in one: %v", seed, at, r.Whole(), whole, r.InOne())
			}
		}
	}
}

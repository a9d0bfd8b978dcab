package tlsio_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/internal/tlsio"
	"github.com/evmq/evmq/internal/tlsio/tlstest"
)

// Otherwise crypto/tls enlarges its buffer, which it keeps, to hold the beginning of a second record. All bytes are read, in their order.
func TestReadReturnsBytesOfOneRecord(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		var stream []byte
		ends := map[int]bool{}
		for range 1 + random.IntN(20) {
			n := random.IntN(4) * random.IntN(300)
			stream = binary.BigEndian.AppendUint16(append(stream, byte(20+random.IntN(5)), 3, 3), uint16(n))
			for range n {
				stream = append(stream, byte(random.Uint32()))
			}
			ends[len(stream)] = true
		}
		p := tlsio.New(newOwner())
		p.Finish(nil)
		var got []byte
		for rest := stream; len(rest) > 0; {
			n := 1 + random.IntN(min(len(rest), 500))
			p.Lend(bytes.Clone(rest[:n]))
			rest = rest[n:]
			for {
				b := make([]byte, 1+random.IntN(400))
				n, err := p.Read(b)
				if errors.Is(err, tlsio.ErrWouldBlock) {
					break
				}
				testkit.Must(t, err)
				for end := len(got) + 1; end < len(got)+n; end++ {
					if ends[end] {
						t.Fatalf("seed %d: a read of %d bytes has the end of a record after %d", seed, n, end-len(got))
					}
				}
				got = append(got, b[:n]...)
			}
			p.Keep()
		}
		if !bytes.Equal(got, stream) {
			t.Fatalf("seed %d: read %d bytes, which are not the %d that came", seed, len(got), len(stream))
		}
	}
}

// crypto/tls sees them and reports the error.
func TestBytesThatAreNoRecordAreReadAtOnce(t *testing.T) {
	for _, stream := range []string{"GET / HTTP/1.1\r\n", "\x17\x02\x00\x00\x01x", "\x17\x03\x03\xff\xffxyz"} {
		p := tlsio.New(newOwner())
		p.Finish(nil)
		p.Lend([]byte(stream))
		b := make([]byte, 100)
		if n, err := p.Read(b); err != nil || string(b[:n]) != stream {
			t.Errorf("%q: read %q, %v", stream, b[:n], err)
		}
	}
}

// It needs a condition variable and times only during the handshake, and buffers only while something waits.
func TestAPipeTakesUp160BytesAfterItsHandshake(t *testing.T) {
	const n = 10000
	o := newOwner()
	pipes := make([]*tlsio.Pipe, n)
	record := []byte{23, 3, 3, 0, 3, 'a', 'b', 'c'}
	before := tlstest.Heap()
	for i := range pipes {
		p := tlsio.New(o)
		p.Feed(record)
		p.Finish(nil)
		p.Lend(record)
		for buf := make([]byte, 100); ; {
			if _, err := p.Read(buf); err != nil {
				break
			}
		}
		p.Keep()
		_, _ = p.Write(record) // never fails
		p.TakeOutput()
		pipes[i] = p
	}
	if size := (tlstest.Heap() - before) / n; size > 165 {
		t.Errorf("a Pipe takes up %d bytes", size)
	}
	for _, p := range pipes {
		testkit.Must(t, p.Close())
	}
}

// crypto/tls may have them as parts of a handshake message. After Close they do not count.
func TestBytesThatHaveBroughtNoDataCountAsMemory(t *testing.T) {
	record := []byte{23, 3, 3, 0, 3, 'a', 'b', 'c'}
	p := tlsio.New(newOwner())
	p.Finish(nil)
	read := func() {
		p.Lend(record)
		for buf := make([]byte, 100); ; {
			if _, err := p.Read(buf); err != nil {
				break
			}
		}
		p.Keep()
	}
	for _, step := range []struct {
		do   func()
		want int
	}{{read, 2 * len(record)}, {read, 4 * len(record)}, {p.Delivered, 0}, {read, 2 * len(record)}, {func() { _ = p.Close() }, 0}} {
		step.do()
		if in, out := p.Memory(); in != step.want || out != 0 {
			t.Errorf("it counts %d and %d bytes, want %d and 0", in, out, step.want)
		}
	}
}

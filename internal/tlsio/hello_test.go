package tlsio_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/evmq/evmq/internal/tlsio"
)

// clientHello is what a client of crypto/tls sends first.
func clientHello(t testing.TB) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer b.Close()
	go func() {
		defer a.Close()
		_ = tls.Client(a, clientConfig()).HandshakeContext(context.Background()) // fails when b is closed
	}()
	head := make([]byte, 5)
	if _, err := io.ReadFull(b, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(b, body); err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}

// split is a hello in records of n bytes each.
func split(hello []byte, n int) (out []byte) {
	for body := hello[5:]; len(body) > 0; {
		k := min(n, len(body))
		out = append(append(out, 22, 3, 1, byte(k>>8), byte(k)), body[:k]...)
		body = body[k:]
	}
	return out
}

// TestAHelloIsCompleteWithItsLastByte, in one record and in many, and what follows does not matter.
func TestAHelloIsCompleteWithItsLastByte(t *testing.T) {
	whole := clientHello(t)
	for _, hello := range [][]byte{whole, split(whole, 1), split(whole, 3), split(whole, 100)} {
		for n := range hello {
			if complete, err := tlsio.HelloComplete(hello[:n]); complete || err != nil {
				t.Fatalf("%d bytes of %d: complete %v, %v", n, len(hello), complete, err)
			}
		}
		for _, behind := range []string{"", "x", "\x14\x03\x03\x00\x01\x01"} {
			if complete, err := tlsio.HelloComplete(append(append([]byte(nil), hello...), behind...)); !complete || err != nil {
				t.Errorf("all %d bytes: complete %v, %v", len(hello), complete, err)
			}
		}
	}
}

// TestWhatIsNoHelloIsRefusedAtItsFirstBytes.
func TestWhatIsNoHelloIsRefusedAtItsFirstBytes(t *testing.T) {
	for _, p := range []string{
		"G", "\x80", "\x16\x12", "\x17", "\x15", "\x16\x03\x01\x00\x00", "\x16\x03\x01\x48\x01", "\x16\x03\x01\x00\x10\x02",
		"\x16\x03\x01\x00\x01\x01\x17", "\x16\x03\x01\x00\x01\x01\x16\x02",
	} {
		if complete, err := tlsio.HelloComplete([]byte(p)); complete || !errors.Is(err, tlsio.ErrNotTLS) {
			t.Errorf("%q: complete %v, %v", p, complete, err)
		}
		if complete, err := tlsio.HelloComplete([]byte(p[:len(p)-1])); complete || err != nil {
			t.Errorf("%q: complete %v, %v; a byte more is refused", p[:len(p)-1], complete, err)
		}
	}
}

// FuzzHelloComplete: what is complete stays complete with more bytes, and what is refused stays refused.
func FuzzHelloComplete(f *testing.F) {
	hello := clientHello(f)
	f.Add(hello, 10)
	f.Add(split(hello, 7), 100)
	f.Add([]byte("GET / HTTP/1.1\r\n"), 3)
	f.Fuzz(func(t *testing.T, p []byte, n int) {
		if n < 0 || n > len(p) {
			return
		}
		before, beforeErr := tlsio.HelloComplete(p[:n])
		after, afterErr := tlsio.HelloComplete(p)
		if before && !after || beforeErr != nil && afterErr == nil || after && afterErr != nil {
			t.Errorf("%d bytes: %v, %v; %d bytes: %v, %v", n, before, beforeErr, len(p), after, afterErr)
		}
	})
}

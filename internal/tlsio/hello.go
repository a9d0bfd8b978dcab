package tlsio

import "errors"

// ErrNotTLS says that what a client has sent cannot become a ClientHello.
var ErrNotTLS = errors.New("the client does not speak TLS")

// The types of RFC 8446 that a client begins with.
const (
	recordHandshake    = 22
	messageClientHello = 1
)

// HelloComplete reports whether p, all that a client has sent, holds a whole ClientHello, which may be spread over several records. Errors:
// ErrNotTLS as soon as p cannot become one.
func HelloComplete(p []byte) (bool, error) {
	have := 0 // bytes of the handshake message
	need := 4 // its header, to begin with
	var head [4]byte
	for len(p) >= headerSize {
		n := int(p[3])<<8 | int(p[4])
		if p[0] != recordHandshake || p[1] != 3 || n == 0 || n > maxCiphertext {
			return false, ErrNotTLS
		}
		body := p[headerSize:min(len(p), headerSize+n)]
		if have < 4 {
			copy(head[have:], body)
		}
		have += len(body)
		if have >= 1 && head[0] != messageClientHello {
			return false, ErrNotTLS
		}
		if have >= 4 {
			need = 4 + int(head[1])<<16 + int(head[2])<<8 + int(head[3])
		}
		if have >= need && have >= 4 {
			return true, nil
		}
		if len(p) < headerSize+n {
			return false, nil
		}
		p = p[headerSize+n:]
	}
	if len(p) > 0 && p[0] != recordHandshake || len(p) > 1 && p[1] != 3 {
		return false, ErrNotTLS
	}
	return false, nil
}

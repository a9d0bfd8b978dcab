package server_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// recordWriter makes TLS 1.3 records by hand (RFC 8446, sections 5.2 and 7), for messages that crypto/tls never sends.
type recordWriter struct {
	t       testing.TB
	hash    func() hash.Hash
	keySize int
	secret  []byte
	aead    cipher.AEAD
	iv      []byte
	seq     uint64
}

// newRecordWriter continues after a client's handshake; keys is its key log.
func newRecordWriter(t testing.TB, suite uint16, keys string) *recordWriter {
	t.Helper()
	w := &recordWriter{t: t, hash: sha256.New, keySize: 16}
	switch suite {
	case tls.TLS_AES_128_GCM_SHA256:
	case tls.TLS_AES_256_GCM_SHA384:
		w.hash, w.keySize = sha512.New384, 32
	default:
		t.Skip("this machine prefers " + tls.CipherSuiteName(suite))
	}
	for line := range strings.Lines(keys) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(f[2])
			testkit.Must(t, err)
			w.use(secret)
			return w
		}
	}
	t.Fatal("no secret in the key log")
	return nil
}

func (w *recordWriter) use(secret []byte) {
	w.secret, w.seq = secret, 0
	block, err := aes.NewCipher(w.expand("key", w.keySize))
	testkit.Must(w.t, err)
	w.aead, err = cipher.NewGCM(block)
	testkit.Must(w.t, err)
	w.iv = w.expand("iv", 12)
}

func (w *recordWriter) expand(label string, n int) []byte {
	label = "tls13 " + label
	info := append(binary.BigEndian.AppendUint16(nil, uint16(n)), byte(len(label)))
	info = append(append(info, label...), 0)
	out, err := hkdf.Expand(w.hash, w.secret, string(info), n)
	testkit.Must(w.t, err)
	return out
}

func (w *recordWriter) record(out []byte, kind byte, p []byte) []byte {
	head := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(p)+1+w.aead.Overhead()))
	nonce := append([]byte(nil), w.iv...)
	for i := range 8 {
		nonce[4+i] ^= byte(w.seq >> (56 - 8*i))
	}
	w.seq++
	return w.aead.Seal(append(out, head...), nonce, append(append([]byte(nil), p...), kind), head)
}

// keyUpdate appends a request for new keys, and a byte with the next ones, since crypto/tls limits the number of successive requests.
func (w *recordWriter) keyUpdate(out []byte) []byte {
	out = w.record(out, 22, []byte{24, 0, 0, 1, 1})
	w.use(w.expand("traffic upd", w.hash().Size()))
	return w.record(out, 23, []byte("x"))
}

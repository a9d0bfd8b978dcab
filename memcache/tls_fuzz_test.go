package memcache

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/server"
)

// fuzzTimeout limits the time of one session of a fuzz target with a server.
const fuzzTimeout = 20 * time.Second

// FuzzTLS sends any input over a TLS connection to a server with any options. The input is cut into records of any lengths, and their bytes into
// writes of any lengths. Nothing panics, each connection ends, nothing remains in memory, and the answers are those of a connection without TLS.
// The first bytes choose the options, as in FuzzOptions, the version of TLS, what is sent below TLS, and the lengths of the pieces.
func FuzzTLS(f *testing.F) {
	users := fuzzUsers(f)
	cert := selfSigned(f)
	for i := range 64 {
		f.Add(append([]byte{byte(4 * i), byte(i), 0, byte(i), byte(i / 4), 0}, randomProgram(byte(i), 300)...))
	}
	for i, input := range wholeSessions() {
		for bits := range byte(8) {
			f.Add(append([]byte{bits * 34, byte(i), 0, bits, bits / 2, 1}, input...))
		}
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		d := &dice{program[:min(len(program), 32<<10)]}
		config := configOf(d, users)
		full := d.roll(2) == 1
		client := &tlsClient{
			config: &tls.Config{InsecureSkipVerify: true, MaxVersion: pick[uint16](d, tls.VersionTLS12, tls.VersionTLS13)},
			below:  tlsFault(d.roll(int(faults))),
			sizes:  d,
		}
		input := d.stream(config.NoCAS, d.roll(2) == 1)
		client.sizes = &dice{bytes.Clone(input[:min(len(input), 256)])}
		secure, evicted := trial(t, config, full, &tls.Config{Certificates: []tls.Certificate{cert}}, client.play, input)
		if client.below != noFault || full || evicted || differs(input, secure) {
			return
		}
		bare, _ := trial(t, config, full, nil, playBare, input)
		short, long := min(string(bare), string(secure)), max(string(bare), string(secure))
		cut := hasLongLine(input) && strings.HasPrefix(long, short)
		if short != long && !cut {
			t.Errorf("the answers over TLS are\n%.2000q\nand without TLS\n%.2000q", secure, bare)
		}
	})
}

// differs reports whether two servers may answer differently: statistics, lists of keys in no particular order, and events.
func differs(input, answers []byte) bool {
	for _, word := range []string{"dump", "watch", "stats"} {
		if bytes.Contains(input, []byte(word)) {
			return true
		}
	}
	return bytes.Contains(answers, []byte("rusage_user"))
}

// stream returns the input of a session: commands of one protocol, drawn from the bytes that are left, or these bytes themselves.
func (d *dice) stream(noCAS, raw bool) []byte {
	if raw {
		return d.bytes
	}
	var out []byte
	m := newModel(1_700_000_000, noCAS)
	for len(d.bytes) > 0 && len(out) < 200_000 {
		input, _ := pick(d, textCommand, metaCommand, binCommand)(d, m)
		if len(out) == 0 || (out[0] == protocol.RequestMagic) == (input[0] == protocol.RequestMagic) {
			out = append(out, input...)
		}
	}
	return out
}

// trial starts a server with a new cache, has play send the input on a connection, and returns the answers, and whether items were evicted.
func trial(t *testing.T, config Config, full bool, secure *tls.Config, play func(net.Conn, []byte) ([]byte, error), input []byte) (answers []byte, evicted bool) {
	clock := new(trapClock)
	clock.now.Store(1_700_000_000)
	config.Clock, config.Logger = clock, slog.New(slog.DiscardHandler)
	c, err := New(&config)
	if err != nil {
		t.Fatal(err)
	}
	if full {
		fill(c)
	}
	srv := &server.Server{NumLoops: 1, TLS: secure, Logger: config.Logger}
	c.Attach(srv)
	path := filepath.Join(t.TempDir(), "socket") // ports would be used up
	if _, err := srv.Listen(context.Background(), "unix", path, nil); err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("unix", path)
	if err == nil {
		err = nc.SetDeadline(time.Now().Add(fuzzTimeout))
	}
	if err == nil {
		answers, err = play(nc, input)
		nc.Close()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection does not end: %v, after %d bytes of answers", err, len(answers))
	}
	ctx, cancel := context.WithTimeout(context.Background(), fuzzTimeout)
	defer cancel()
	if err := errors.Join(srv.Shutdown(ctx), c.Close()); err != nil {
		t.Error(err)
	}
	c.store.Reap(1) // ends the leases that have been returned
	st := c.store.Stats()
	if st.Memory > st.Limit || st.Items < 0 || st.Held != 0 || st.Coming != 0 {
		t.Errorf("%d bytes of memory, the limit is %d; %d items, %d bytes are held, %d coming", st.Memory, st.Limit, st.Items, st.Held, st.Coming)
	}
	if n := srv.Stats().BufferedBytes; n != 0 || c.panics.Load() != 0 {
		t.Errorf("%d bytes are buffered; %d panics", n, c.panics.Load())
	}
	return answers, st.Evicted > 0
}

// playBare sends the input without TLS, and reads all answers.
func playBare(nc net.Conn, input []byte) ([]byte, error) {
	var sending sync.WaitGroup
	sending.Go(func() {
		_, _ = nc.Write(input) // an error is the server's end of the connection, which the reader sees
		_ = nc.(*net.UnixConn).CloseWrite()
	})
	defer sending.Wait()
	return io.ReadAll(nc)
}

// tlsFault is a fault in the bytes that a client sends below TLS.
type tlsFault int

const (
	noFault     tlsFault = iota
	noNotify             // the end of the connection without the notification of TLS
	badRecord            // a record that was not encrypted, at the end
	badHello             // the input instead of a handshake
	cutHello             // the beginning of a handshake
	plainSecond          // the input again, not encrypted, behind the encrypted one
	faults
)

// tlsClient is a client that cuts its input into records and its records into writes.
type tlsClient struct {
	config *tls.Config
	below  tlsFault
	sizes  *dice
}

// play sends the input and reads all answers.
func (c *tlsClient) play(nc net.Conn, input []byte) ([]byte, error) {
	bare := nc.(*net.UnixConn)
	if c.below == badHello {
		return playBare(nc, input)
	}
	cut := &cutConn{Conn: nc, sizes: c.sizes, left: -1}
	if c.below == cutHello {
		cut.left = 1 + c.sizes.roll(100)
	}
	secure := tls.Client(cut, c.config)
	if err := secure.Handshake(); err != nil {
		return nil, err
	}
	var sending sync.WaitGroup
	sending.Go(func() {
		for left := input; len(left) > 0; {
			n := min(len(left), 1+c.sizes.roll(256))
			if len(c.sizes.bytes) == 0 {
				n = len(left)
			}
			if _, err := secure.Write(left[:n]); err != nil {
				return // the reader sees why
			}
			left = left[n:]
		}
		switch c.below {
		case badRecord:
			_, _ = bare.Write([]byte("\x17\x03\x03\x00\x20an unencrypted record of 32 bytes"))
		case plainSecond:
			_, _ = bare.Write(input)
		case noNotify:
		default:
			_ = secure.CloseWrite()
		}
		_ = bare.CloseWrite()
	})
	defer sending.Wait()
	return io.ReadAll(secure)
}

// cutConn divides each write into several.
type cutConn struct {
	net.Conn
	sizes *dice
	left  int // bytes until the sending half is closed; negative: any number
}

func (c *cutConn) Write(p []byte) (n int, err error) {
	if c.left >= 0 && len(p) > c.left {
		p = p[:c.left]
		defer func() { _ = c.Conn.(*net.UnixConn).CloseWrite() }()
	}
	for n < len(p) {
		size := len(p) - n
		if len(c.sizes.bytes) > 0 {
			size = min(size, 1+c.sizes.roll(64))
		}
		k, err := c.Conn.Write(p[n : n+size])
		if n += k; err != nil {
			return n, err
		}
	}
	return n, nil
}

// selfSigned makes a certificate.
func selfSigned(t testing.TB) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

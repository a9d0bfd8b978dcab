package tlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"time"
)

// Config returns the configuration of a server, with a new self-signed certificate for localhost.
func Config() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
}

// An Exchange is the use that a client makes of a connection before the connection is idle: a handshake, then Request, if it is not empty,
// and an answer of Reply bytes, which the client reads while it writes.
type Exchange struct {
	Version uint16 // of TLS, as in package tls
	Request []byte
	Reply   int
}

// Echo returns the Exchange in which n bytes are sent and received.
func Echo(version uint16, n int) Exchange { return Exchange{version, make([]byte, n), n} }

// Client makes the exchange on nc as its client, which accepts any certificate. Nothing of it remains in the heap.
func (e Exchange) Client(nc net.Conn) error {
	c := tls.Client(nc, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost", MinVersion: e.Version, MaxVersion: e.Version})
	if err := c.Handshake(); err != nil {
		return fmt.Errorf("handshake of the client: %w", err)
	}
	written := make(chan error, 1)
	go func() {
		_, err := c.Write(e.Request)
		written <- err
	}()
	_, err := io.CopyN(io.Discard, c, int64(e.Reply))
	return errors.Join(<-written, err)
}

// Server makes the exchange on c as a server that sends back what it reads, and then further bytes if the reply is longer.
func (e Exchange) Server(c *tls.Conn) error {
	if err := c.Handshake(); err != nil {
		return fmt.Errorf("handshake of the server: %w", err)
	}
	buf := make([]byte, 32<<10)
	left := e.Reply
	for n := 0; n < len(e.Request); {
		k, err := c.Read(buf)
		if err != nil {
			return fmt.Errorf("read of the server: %w", err)
		}
		n += k
		if k, err = c.Write(buf[:min(k, left)]); err != nil {
			return fmt.Errorf("write of the server: %w", err)
		}
		left -= k
	}
	_, err := c.Write(make([]byte, left))
	return err
}

// Both makes the exchange between nc and a server: serve is called at once, and the client runs meanwhile.
func (e Exchange) Both(nc net.Conn, serve func() error) error {
	client := make(chan error, 1)
	go func() { client <- e.Client(nc) }()
	err := serve()
	return errors.Join(err, <-client)
}

// Held are connections of crypto/tls alone that are idle after an Exchange.
type Held struct {
	conns []*tls.Conn
	peers []*Conn
}

// Hold makes n connections more, whose server has this configuration.
func (h *Held) Hold(n int, config *tls.Config, e Exchange) error {
	for range n {
		a, b, err := Pair()
		if err != nil {
			return err
		}
		c := tls.Server(b, config)
		h.conns, h.peers = append(h.conns, c), append(h.peers, a)
		if err := e.Both(a, func() error { return e.Server(c) }); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the connections.
func (h *Held) Close() (err error) {
	for i, c := range h.conns {
		err = errors.Join(err, c.NetConn().Close(), h.peers[i].Close())
	}
	h.conns, h.peers = nil, nil
	return err
}

// Heap returns the bytes of live objects, without those in pools.
func Heap() int64 {
	for range 3 { // the second empties the pools, and the third removes what finalizers have released
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

package tlsio_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/internal/tlsio"
)

var certificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
})

func clientConfig() *tls.Config {
	_, pool := certificate()
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

func serverConfig() *tls.Config {
	cert, _ := certificate()
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

// owner is a Pipe's connection, with a clock that stands still unless it is set.
type owner struct {
	changed chan struct{}
	asked   chan struct{} // brings something when the time was asked for
	mu      sync.Mutex
	now     time.Duration
}

func newOwner() *owner {
	return &owner{changed: make(chan struct{}, 1), asked: make(chan struct{}, 10)}
}

func (o *owner) Changed() {
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

func (o *owner) Now() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.asked <- struct{}{}:
	default:
	}
	return o.now
}

func (o *owner) set(now time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now = now
}

func (o *owner) LocalAddr() net.Addr  { return &net.UnixAddr{Name: "local"} }
func (o *owner) RemoteAddr() net.Addr { return &net.UnixAddr{Name: "remote"} }

// conn is a Writer of one connection.
type conn struct{ net.Conn }

func (c conn) Write(_ int, p []byte) (int, error) { return c.Conn.Write(p) }

// connected is a pair of TCP connections.
func connected(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer ln.Close()
	theirs, err = net.Dial("tcp", ln.Addr().String())
	testkit.Must(t, err)
	ours, err = ln.Accept()
	testkit.Must(t, err)
	for _, nc := range []net.Conn{ours, theirs} {
		t.Cleanup(func() { nc.Close() })
		testkit.Must(t, nc.SetDeadline(time.Now().Add(20*time.Second)))
	}
	return ours, theirs
}

// shake shakes hands on ours with a client of crypto/tls on theirs, fed in pieces of size bytes.
func shake(t *testing.T, ours, theirs net.Conn, size int) (*tlsio.Pipe, *tls.Conn, *tls.Conn) {
	t.Helper()
	o := newOwner()
	p := tlsio.New(o)
	server, client := tls.Server(p, serverConfig()), tls.Client(theirs, clientConfig())
	shaken, ended := make(chan error, 1), make(chan struct{})
	go func() { shaken <- client.Handshake() }()
	go func() {
		defer close(ended)
		p.Finish(server.Handshake())
	}()
	for buf := make([]byte, size); !p.Succeeded(); {
		if _, _, err := p.Flush(conn{ours}, 0, 1<<20); err != nil {
			t.Fatal(err)
		}
		testkit.Must(t, ours.SetReadDeadline(time.Now().Add(time.Millisecond)))
		n, err := ours.Read(buf)
		if p.Feed(buf[:n]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	<-ended
	_, _, err := p.Flush(conn{ours}, 0, 1<<20) // tickets
	testkit.Must(t, err)
	testkit.Must(t, ours.SetReadDeadline(time.Now().Add(20*time.Second)))
	testkit.Must(t, p.Err())
	testkit.Must(t, <-shaken)
	return p, server, client
}

// TestATLSConnWorksOnALoopsBuffers: records that come in any pieces are decrypted without waiting, and what is not complete is kept.
func TestATLSConnWorksOnALoopsBuffers(t *testing.T) {
	ours, theirs := connected(t)
	p, server, client := shake(t, ours, theirs, 1<<10)
	message := bytes.Repeat([]byte("sixteen bytes of"), 2000)
	go func() { _, _ = client.Write(message) }()
	var got []byte
	for buf, plain := make([]byte, 777), make([]byte, 1<<10); len(got) < len(message); {
		n, err := ours.Read(buf)
		testkit.Must(t, err)
		p.Lend(buf[:n])
		for {
			n, err := server.Read(plain)
			got = append(got, plain[:n]...)
			if errors.Is(err, tlsio.ErrWouldBlock) {
				break
			}
			testkit.Must(t, err)
		}
		left := p.Uncopied()
		p.Keep()
		if in, out := p.Memory(); in < left || out != 0 {
			t.Fatalf("%d bytes are left and %d are kept; %d of output", left, in, out)
		}
		clear(buf)
	}
	if !bytes.Equal(got, message) {
		t.Error("the message is not what was sent")
	}
	room := make([]byte, 64<<10)
	p.LendOut(room)
	_, err := server.Write(message)
	testkit.Must(t, err)
	p.KeepOut()
	clear(room)
	for all := false; !all; {
		_, all, err = p.Flush(conn{ours}, 0, 1000)
		testkit.Must(t, err)
	}
	echo := make([]byte, len(message))
	_, err = io.ReadFull(client, echo)
	testkit.Must(t, err)
	if !bytes.Equal(echo, message) || p.Output() != 0 {
		t.Error("the answer is not what was sent")
	}
}

// TestADetachedTLSConnGoesOn in both directions, with what had come before: whole records, a part of one, and then what the net.Conn reads.
// Deadlines and the end are the net.Conn's.
func TestADetachedTLSConnGoesOn(t *testing.T) {
	ours, theirs := connected(t)
	p, server, client := shake(t, ours, theirs, 1<<10)
	_, err := client.Write([]byte("before,"))
	testkit.Must(t, err)
	_, err = client.Write([]byte("between,"))
	testkit.Must(t, err)
	buf := make([]byte, 40) // the first record and a part of the second
	n, err := io.ReadFull(ours, buf)
	testkit.Must(t, err)
	p.Lend(buf[:n])
	p.Keep()
	p.Detach(ours)
	_, err = client.Write([]byte("after."))
	testkit.Must(t, err)
	got := make([]byte, len("before,between,after."))
	if _, err := io.ReadFull(server, got); err != nil || string(got) != "before,between,after." {
		t.Errorf("read %q, %v", got, err)
	}
	_, err = server.Write([]byte("answer"))
	testkit.Must(t, err)
	got = make([]byte, len("answer"))
	if _, err := io.ReadFull(client, got); err != nil || string(got) != "answer" {
		t.Errorf("the client has read %q, %v", got, err)
	}
	testkit.Must(t, server.SetReadDeadline(time.Now().Add(-time.Second)))
	if _, err := server.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a read after its deadline: %v", err)
	}
	testkit.Must(t, server.SetReadDeadline(time.Time{}))
	if in, out := p.Memory(); in != 0 || out != 0 || p.LocalAddr().String() != ours.LocalAddr().String() || p.RemoteAddr().String() != ours.RemoteAddr().String() {
		t.Error("a detached Pipe has memory or addresses of its own")
	}
	testkit.Must(t, server.CloseWrite())
	if rest, err := io.ReadAll(client); err != nil || len(rest) > 0 {
		t.Errorf("the client has read %q, %v; want the end", rest, err)
	}
	testkit.Must(t, client.Close())
	if rest, err := io.ReadAll(server); err != nil || len(rest) > 0 {
		t.Errorf("read %q, %v; want the end", rest, err)
	}
	testkit.Must(t, server.Close())
	if _, err := ours.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the net.Conn is not closed: %v", err)
	}
}

// TestAHandshakeThatWaitsIsMeasured in all its waits, and Close and the peer's end end it.
func TestAHandshakeThatWaitsIsMeasured(t *testing.T) {
	for name, end := range map[string]struct {
		do   func(p *tlsio.Pipe)
		want error
	}{
		"Close":   {func(p *tlsio.Pipe) { _ = p.Close() }, net.ErrClosed},
		"the end": {func(p *tlsio.Pipe) { p.FeedEOF() }, io.EOF},
	} {
		o := newOwner()
		p := tlsio.New(o)
		ended := make(chan error, 1)
		read := func() { _, err := p.Read(make([]byte, 10)); ended <- err }
		for i, want := range []time.Duration{2 * time.Second, 5 * time.Second} { // all waits together
			go read()
			<-o.asked // so it waits
			o.set(o.Now() + time.Duration(2+i)*time.Second)
			if d := p.Stalled(); d != want {
				t.Errorf("%s: it has stalled for %v, want %v", name, d, want)
			}
			for len(o.asked) > 0 {
				<-o.asked
			}
			if i == 0 {
				p.Feed([]byte{23, 3, 3, 0, 1, 'x'})
			} else {
				end.do(p)
			}
			if err := <-ended; i == 1 && !errors.Is(err, end.want) || i == 0 && err != nil {
				t.Errorf("%s: Read returned %v, want %v", name, err, end.want)
			}
			if d := p.Stalled(); i == 0 && d != 0 {
				t.Errorf("%s: it has stalled for %v while it does not wait", name, d)
			}
			for len(o.asked) > 0 {
				<-o.asked
			}
		}
	}
}

// TestAFullPipeTakesInputWhenItIsRead, and its owner is told.
func TestAFullPipeTakesInputWhenItIsRead(t *testing.T) {
	o := newOwner()
	p := tlsio.New(o)
	record := append([]byte{23, 3, 3, 0x40, 0}, make([]byte, 16<<10)...)
	for i := range 4 {
		if full := p.Feed(record); full != (i == 3) {
			t.Errorf("after %d records full is %v", i+1, full)
		}
	}
	if p.TakesInput() || !p.HasInput() {
		t.Error("a full Pipe takes input")
	}
	if n, err := io.ReadFull(p, make([]byte, 4*len(record))); err != nil {
		t.Fatal(n, err)
	}
	go func() { _, _ = p.Read(make([]byte, 1)) }()
	<-o.changed
	if !p.TakesInput() || p.HasInput() {
		t.Error("a Pipe that was read takes no input")
	}
	testkit.Must(t, p.Close())
}

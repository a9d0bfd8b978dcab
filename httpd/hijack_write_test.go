package httpd

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// halfClose is what a handler does that speaks until it has said all, and then listens.
func halfClose(nc net.Conn, rw *bufio.ReadWriter) error {
	_, _ = io.WriteString(nc, "bye")                         // the client sees it
	err := nc.(interface{ CloseWrite() error }).CloseWrite() // as those of package net and of crypto/tls
	line, err2 := rw.ReadString('\n')
	_, err3 := rw.ReadByte()
	if err != nil || err2 != nil || line != "still there\n" || err3 != io.EOF {
		return fmt.Errorf("CloseWrite: %w; %q, %w, %w", err, line, err2, err3)
	}
	if _, err := nc.Write(make([]byte, 1)); err == nil {
		return errors.New("Write after CloseWrite has no error")
	}
	return nc.Close()
}

// The client reads the end of the stream, and what it sends then is still read, up to its own end.
func TestAHijackedConnectionIsClosedHalfByHalf(t *testing.T) {
	ended := make(chan error, 1)
	eachHijacking(t, func(nc net.Conn, rw *bufio.ReadWriter) { ended <- halfClose(nc, rw) }, func(t *testing.T, addr, path string) {
		c := dial(t, addr)
		c.send(get(path))
		if got := c.rest(); got != "bye" {
			t.Fatalf("%q", got)
		}
		c.send("still there\n")
		c.closeWrite()
		testkit.Must(t, testkit.Await(t, ended, "the end of the handler"))
	})
}

// With TLS, the end of the stream is a close_notify, as that of package net/http.
func TestAHijackedConnectionWithTLSIsClosedHalfByHalf(t *testing.T) {
	ended := make(chan error, 1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		nc, rw, err := w.(http.Hijacker).Hijack()
		testkit.Must(t, err)
		ended <- halfClose(nc, rw)
	})
	theirs := httptest.NewTLSServer(handler)
	defer theirs.Close()
	addr, client := startTLS(t, &Server{Handler: handler}, false)
	for _, addr := range []string{theirs.Listener.Addr().String(), addr} {
		nc, err := tls.Dial("tcp", addr, client.Transport.(*http.Transport).TLSClientConfig)
		testkit.Must(t, err)
		testkit.Must(t, nc.SetDeadline(time.Now().Add(testkit.Patience)))
		_, _ = io.WriteString(nc, get("/")) // the response shows it
		if got, err := io.ReadAll(nc); err != nil || string(got) != "bye" {
			t.Fatalf("%q, %v", got, err) // without close_notify the error would be io.ErrUnexpectedEOF
		}
		_, err = io.WriteString(nc, "still there\n")
		testkit.Must(t, err)
		testkit.Must(t, nc.CloseWrite())
		testkit.Must(t, testkit.Await(t, ended, "the end of the handler"))
		_ = nc.Close() // the test is over
	}
}

// A Write that has failed at its deadline has sent what it says, and the connection can be used with a later one, as those of package net.
func TestAHijackedConnectionOutlivesItsWriteDeadline(t *testing.T) {
	written := make(chan int, 1)
	eachHijacking(t, func(nc net.Conn, _ *bufio.ReadWriter) {
		n := 0
		for range 3 {
			_ = nc.SetWriteDeadline(time.Now().Add(time.Millisecond))
			m, err := io.Copy(nc, endless{})
			n += int(m)
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				panic(fmt.Sprint("Write: ", err))
			}
		}
		written <- n
		_ = nc.SetDeadline(time.Time{})
		_, err1 := io.WriteString(nc, "end")
		_, err2 := io.ReadFull(nc, make([]byte, 4))
		if err := errors.Join(err1, err2, nc.Close()); err != nil {
			panic(err)
		}
	}, func(t *testing.T, addr, path string) {
		c := dial(t, addr)
		c.send(get(path))
		n := testkit.Await(t, written, "the deadlines")
		c.send("more")
		if got := c.rest(); len(got) != n+len("end") || !strings.HasSuffix(got, "end") {
			t.Errorf("the client has read %d bytes, and %d were written before the end", len(got), n)
		}
	})
}

// Close sends what calls of Write have accepted, the one that it interrupts included.
func TestCloseOfAHijackedConnectionSendsWhatWasWritten(t *testing.T) {
	written := make(chan int, 1)
	eachHijacking(t, func(nc net.Conn, _ *bufio.ReadWriter) {
		began := make(chan struct{})
		go func() {
			close(began)
			n, err := nc.Write(make([]byte, 64<<20))
			if !errors.Is(err, net.ErrClosed) {
				panic(fmt.Sprint("Write: ", err))
			}
			written <- n
		}()
		<-began
		time.Sleep(time.Millisecond) // so that mostly it waits; each order is correct
		_ = nc.Close()               // by intention
	}, func(t *testing.T, addr, path string) {
		c := dial(t, addr)
		c.send(get(path))
		n := testkit.Await(t, written, "the end of Write")
		if got := c.rest(); len(got) != n {
			t.Errorf("the client has read %d bytes of %d", len(got), n)
		}
	})
}

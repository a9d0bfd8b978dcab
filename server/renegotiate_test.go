package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// openssl runs the program of that name until the test ends. It returns its standard input, and the lines of its output.
func openssl(t *testing.T, args ...string) (in io.Writer, lines <-chan string) {
	t.Helper()
	cmd := exec.Command(testkit.Program(t, "openssl"), args...) // package tls does not renegotiate by itself
	stdin, err := cmd.StdinPipe()
	testkit.Must(t, err)
	stdout, err := cmd.StdoutPipe()
	testkit.Must(t, err)
	cmd.Stderr = cmd.Stdout
	testkit.Must(t, cmd.Start())
	out := make(chan string, 1000)
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(out)
		for sc := bufio.NewScanner(stdout); sc.Scan(); {
			offer(out, sc.Text())
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		<-read
		_ = cmd.Wait()
	})
	return stdin, out
}

// awaitLine waits for a line that contains text, and returns it.
func awaitLine(t *testing.T, lines <-chan string, text string) string {
	t.Helper()
	for {
		select {
		case line, ok := <-lines:
			if strings.Contains(line, text) {
				return line
			}
			if !ok {
				t.Fatalf("openssl has ended without a line with %q", text)
			}
		case <-time.After(testkit.Patience):
			t.Fatalf("openssl has written no line with %q within %v", text, testkit.Patience)
		}
	}
}

// The client uses TLS 1.2; TLS 1.3 has no renegotiation. Other clients are served, before and after.
func TestAClientThatRenegotiatesIsDisconnected(t *testing.T) {
	t.Parallel()
	config := serverTLS()
	config.MaxVersion = tls.VersionTLS12
	p := newProbe(calls{data: echo})
	s := start(t, rig{"tcp", true, 1}, &server.Server{Handler: p, TLS: config})
	_, other := p.connect(t, s)
	in, lines := openssl(t, "s_client", "-connect", s.addr.String(), "-tls1_2")
	c := testkit.Await(t, p.opened, "Open")
	if state, ok := c.TLS(); !ok || state.Version != tls.VersionTLS12 {
		t.Fatalf("the version is %x", state.Version)
	}
	_, err := io.WriteString(in, "hello\n")
	testkit.Must(t, err)
	awaitLine(t, lines, "hello")
	_, err = io.WriteString(in, "R\n") // its command to renegotiate
	testkit.Must(t, err)
	awaitLine(t, lines, "RENEGOTIATING")
	if reason := testkit.Await(t, p.closed, "Close"); reason == nil || !strings.Contains(reason.Error(), "tls: ") {
		t.Errorf("the reason is %v, want an error of package tls", reason)
	}
	send(t, other, "still served")
	expect(t, other, "still served")
	isIdle(t, s)
	hangUp(other)
	s.shutdown(t)
	s.drained(t)
}

// A dialled connection refuses the request with an alert, and its Close is called.
func TestAServerThatRequestsRenegotiationIsDisconnected(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, _ := certificate()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	testkit.Must(t, err)
	for name, block := range map[string]*pem.Block{
		"cert": {Type: "CERTIFICATE", Bytes: cert.Certificate[0]}, "key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		testkit.Must(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	in, lines := openssl(t, "s_server", "-accept", "127.0.0.1:0", "-tls1_2", "-cert", filepath.Join(dir, "cert"), "-key", filepath.Join(dir, "key"))
	address := strings.TrimPrefix(awaitLine(t, lines, "ACCEPT 127.0.0.1:"), "ACCEPT ")
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: echoLines()})
	check := otherClient(t, s)
	h := newCaller()
	c, err := s.Dial(context.Background(), "tcp", address, &server.DialConfig{Handler: h, TLS: clientTLS()})
	testkit.Must(t, err)
	testkit.Await(t, h.opened, "Open")
	_, err = c.WriteString("from the client\n")
	testkit.Must(t, err)
	awaitLine(t, lines, "from the client")
	_, err = io.WriteString(in, "hello\n")
	testkit.Must(t, err)
	if line := testkit.Await(t, h.lines, "a line"); line != "hello" {
		t.Errorf("read %q", line)
	}
	_, err = io.WriteString(in, "r\n") // its command to ask for renegotiation
	testkit.Must(t, err)
	if reason := testkit.Await(t, h.closed, "Close"); reason == nil || !strings.Contains(reason.Error(), "tls: no renegotiation") {
		t.Errorf("the reason is %v, want that there is no renegotiation", reason)
	}
	check()
	isIdle(t, s)
}

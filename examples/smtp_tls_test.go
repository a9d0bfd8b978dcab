package examples_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// writeCertificate writes a certificate for localhost and its key to files, and returns a pool that trusts it.
func writeCertificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.Must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	testkit.Must(t, err)
	bytes, err := x509.MarshalPKCS8PrivateKey(private)
	testkit.Must(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	testkit.Must(t, os.WriteFile(cert, encoded, 0o600))
	testkit.Must(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes}), 0o600))
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(encoded)
	return cert, key, pool
}

// TestSMTPOffersSTARTTLS to the standard library's client, which then sends a message encrypted, and does not offer it again.
func TestSMTPOffersSTARTTLS(t *testing.T) {
	cert, key, pool := writeCertificate(t)
	dir := t.TempDir()
	p, addr := listening(t, build(t, "smtp"), "-dir", dir, "-cert", cert, "-key", key)
	c, err := smtp.Dial(addr)
	testkit.Must(t, err)
	defer c.Close()
	if ok, _ := c.Extension("STARTTLS"); !ok {
		t.Fatal("STARTTLS is not offered")
	}
	testkit.Must(t, c.StartTLS(&tls.Config{RootCAs: pool, ServerName: "localhost"}))
	if ok, _ := c.Extension("STARTTLS"); ok {
		t.Error("STARTTLS is offered again")
	}
	testkit.Must(t, c.Mail("me@here"))
	testkit.Must(t, c.Rcpt("you@there"))
	w, err := c.Data()
	testkit.Must(t, err)
	_, err = io.WriteString(w, "encrypted\r\n")
	testkit.Must(t, err)
	testkit.Must(t, w.Close())
	testkit.Must(t, c.Quit())
	if got, want := kept(t, dir), "X-From: <me@here>\r\nX-To: <you@there>\r\nencrypted\r\n"; got != want {
		t.Errorf("kept %q, want %q", got, want)
	}
	if got := p.stop(); got != "1 messages" {
		t.Errorf("stopped with %s", got)
	}
}

// TestSMTPForgetsWhatWasSaidInClear: a client has to say EHLO again, and a command behind STARTTLS in clear ends the connection.
func TestSMTPForgetsWhatWasSaidInClear(t *testing.T) {
	cert, key, pool := writeCertificate(t)
	p, addr := listening(t, build(t, "smtp"), "-cert", cert, "-key", key)
	c := dial(t, addr)
	c.expectLines("220 sink ready")
	for _, x := range [][2]string{{"HELO me", "250 sink"}, {"MAIL FROM:<a@b>", "250 ok"}, {"STARTTLS now", "501 STARTTLS has no parameters"}, {"STARTTLS", "220 ready to start TLS"}} {
		c.send(x[0] + "\r\n")
		c.expectLines(x[1])
	}
	encrypted := tls.Client(c.TCPConn, &tls.Config{RootCAs: pool, ServerName: "localhost"})
	answers := bufio.NewReader(encrypted)
	for _, x := range [][2]string{{"RCPT TO:<c@d>", "503 say hello first"}, {"STARTTLS", "503 the connection is encrypted already"}} {
		_, err := io.WriteString(encrypted, x[0]+"\r\n")
		testkit.Must(t, err)
		if line, err := answers.ReadString('\n'); err != nil || line != x[1]+"\r\n" {
			t.Errorf("%s is answered with %q, %v", x[0], line, err)
		}
	}
	other := dial(t, addr)
	other.expectLines("220 sink ready")
	other.send("STARTTLS\r\nNOOP\r\n")
	rest, _ := io.ReadAll(other.TCPConn) // it ends with a reset, since there is unread input, or in order
	if strings.Contains(string(rest), "250") {
		t.Errorf("a command behind STARTTLS is answered: %q", rest)
	}
	if got := p.stop(c, other); got != "0 messages" {
		t.Errorf("stopped with %s", got)
	}
}

// TestSMTPSpeaksTLSWithOpenSSL, another implementation of STARTTLS and of TLS.
func TestSMTPSpeaksTLSWithOpenSSL(t *testing.T) {
	path := testkit.Program(t, "openssl")
	cert, key, _ := writeCertificate(t)
	p, addr := listening(t, build(t, "smtp"), "-cert", cert, "-key", key)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		cmd := exec.Command(path, "s_client", "-connect", addr, "-starttls", "smtp", version, "-crlf", "-quiet", "-CAfile", cert, "-verify_return_error", "-verify_hostname", "localhost")
		in, err := cmd.StdinPipe()
		testkit.Must(t, err)
		out, err := cmd.StdoutPipe()
		testkit.Must(t, err)
		testkit.Must(t, cmd.Start())
		timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		_, err = io.WriteString(in, "EHLO me\nNOOP\nQUIT\n")
		testkit.Must(t, err)
		var lines []string
		for sc := bufio.NewScanner(out); sc.Scan(); {
			lines = append(lines, sc.Text())
		}
		timer.Stop()
		_ = cmd.Wait() // its result depends on how the peer has closed
		if all := strings.Join(lines, "|"); !strings.Contains(all, "250 ok|221 bye") || strings.Contains(all, "250-STARTTLS") {
			t.Errorf("%s: openssl has read %q", version, all)
		}
	}
	if got := p.stop(); got != "0 messages" {
		t.Errorf("stopped with %s", got)
	}
}

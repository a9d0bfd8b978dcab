package examples_test

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// fetch returns the status and the body of a GET.
func fetch(t *testing.T, client *http.Client, url string) (status int, header http.Header, body []byte) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	body, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, body
}

func TestHTTPHelloRespondsWithTheHeadersOfNetHTTP(t *testing.T) {
	p := start(t, build(t, "httphello"), "-addr", "127.0.0.1:0")
	theirs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello\n") }))
	defer theirs.Close()
	_, want, _ := fetch(t, http.DefaultClient, theirs.URL)
	status, got, body := fetch(t, http.DefaultClient, "http://"+p.line("listening on "))
	want.Del("Date")
	if got.Get("Date") == "" {
		t.Error("there is no Date")
	}
	got.Del("Date")
	var a, b strings.Builder
	testkit.Must(t, got.Write(&a))
	testkit.Must(t, want.Write(&b))
	if status != http.StatusOK || string(body) != "hello\n" || a.String() != b.String() {
		t.Errorf("the response is %d %q %q; the headers of net/http are %q", status, a.String(), body, b.String())
	}
}

func TestHTTPFilesServesADirectory(t *testing.T) {
	dir := t.TempDir()
	content := make([]byte, 3<<20)
	_, _ = rand.Read(content) // never fails
	testkit.Must(t, os.WriteFile(filepath.Join(dir, "large"), content, 0o600))
	testkit.Must(t, os.WriteFile(filepath.Join(dir, "page.html"), []byte("<html>"), 0o600))

	ts := httptest.NewUnstartedServer(nil)
	ts.EnableHTTP2 = true
	ts.StartTLS() // for its certificate and client
	defer ts.Close()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeKeyPair(t, ts.TLS.Certificates[0], cert, key)

	binary := build(t, "httpfiles")
	for name, row := range map[string]struct {
		scheme string
		client *http.Client
		args   []string
	}{
		"http":  {"http://", &http.Client{Transport: &http.Transport{}}, nil},
		"https": {"https://", ts.Client(), []string{"-cert", cert, "-key", key}},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, binary, append([]string{"-addr", "127.0.0.1:0", "-dir", dir}, row.args...)...)
			url := row.scheme + p.line("listening on ")
			if _, _, body := fetch(t, row.client, url+"/large"); !bytes.Equal(body, content) {
				t.Errorf("the file has arrived with %d bytes, and differs", len(body))
			}
			if _, h, body := fetch(t, row.client, url+"/page.html"); string(body) != "<html>" || h.Get("Content-Type") != "text/html; charset=utf-8" {
				t.Errorf("the page is %q, %q", body, h)
			}
			if status, _, _ := fetch(t, row.client, url+"/missing"); status != http.StatusNotFound {
				t.Errorf("the status of a file that does not exist is %d", status)
			}
			row.client.CloseIdleConnections()
			p.signal(syscall.SIGTERM)
			p.wait()
		})
	}
}

// writeKeyPair writes a certificate and its key as files.
func writeKeyPair(t *testing.T, cert tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	testkit.Must(t, err)
	testkit.Must(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600))
	testkit.Must(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
}

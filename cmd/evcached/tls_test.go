//go:build linux || darwin || freebsd

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// writeCertificate writes a self-signed certificate for localhost and its key to files.
func writeCertificate(t *testing.T, chain, key string) tls.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testkit.Must(t, err)
	number, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	testkit.Must(t, err)
	template := &x509.Certificate{
		SerialNumber: number, DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	testkit.Must(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	testkit.Must(t, err)
	certText := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyText := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	if chain == key {
		testkit.Must(t, os.WriteFile(chain, append(certText, keyText...), 0o600))
	} else {
		testkit.Must(t, os.WriteFile(chain, certText, 0o600))
		testkit.Must(t, os.WriteFile(key, keyText, 0o600))
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// trusting returns a client's configuration that trusts one certificate.
func trusting(t *testing.T, cert tls.Certificate) *tls.Config {
	t.Helper()
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	testkit.Must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// askByTLS reports whether a client with this configuration receives an answer, and the state of its connection.
func askByTLS(t *testing.T, addr string, config *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	nc, err := tls.DialWithDialer(&net.Dialer{Timeout: testTimeout}, "tcp", addr, config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer nc.Close()
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testTimeout)))
	if _, err = nc.Write([]byte(askVersion)); err != nil {
		return tls.ConnectionState{}, err
	}
	got := make([]byte, 100)
	n, err := nc.Read(got)
	if err == nil && string(got[:n]) != isVersion {
		t.Errorf("the answer is %q", got[:n])
	}
	return nc.ConnectionState(), err
}

// TestCertificatesAreReadAgain tests -Z and SIGHUP. An address with notls: has no TLS.
func TestCertificatesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	chain, key := filepath.Join(dir, "chain"), filepath.Join(dir, "key")
	old := trusting(t, writeCertificate(t, chain, key))
	p := start(t, "-p", "-1", "-Z", "-o", "ssl_chain_cert="+chain+",ssl_key="+key, "-l", "127.0.0.1,notls:127.0.0.1:0")
	secure, bare := p.addrs[0], p.addrs[1]
	if _, err := askByTLS(t, secure, old); err != nil {
		t.Fatal(err)
	}
	askOnce(t, "tcp", bare, askVersion, isVersion)
	open, err := tls.Dial("tcp", secure, old)
	testkit.Must(t, err)
	before := talk(t, open)

	renewed := trusting(t, writeCertificate(t, chain, key))
	p.signal(syscall.SIGHUP)
	p.line("msg=reloaded")
	if _, err := askByTLS(t, secure, renewed); err != nil {
		t.Errorf("with the new certificate: %v", err)
	}
	if _, err := askByTLS(t, secure, old); err == nil {
		t.Error("the old certificate is still there")
	}
	renewed = trusting(t, writeCertificate(t, chain, key))
	before.ask("refresh_certs\r\n", "OK\r\n")
	if _, err := askByTLS(t, secure, renewed); err != nil {
		t.Errorf("after refresh_certs: %v", err)
	}
	before.ask(askVersion, isVersion)
	before.Close()

	testkit.Must(t, os.WriteFile(chain, []byte("nothing"), 0o600))
	p.signal(syscall.SIGHUP)
	p.line("the former content stays in force")
	if _, err := askByTLS(t, secure, renewed); err != nil {
		t.Errorf("after a reload that failed: %v", err)
	}
	p.end()
}

// TestAFailedHandshakeFreesItsPlace for the next connection, if connections above the limit wait.
func TestAFailedHandshakeFreesItsPlace(t *testing.T) {
	chain := filepath.Join(t.TempDir(), "chain")
	config := trusting(t, writeCertificate(t, chain, chain))
	p := start(t, "-p", "-1", "-Z", "-c", "1", "-o", "no_maxconns_fast,ssl_chain_cert="+chain)
	for range 3 {
		c := dial(t, "tcp", p.addrs[0])
		_, err := c.Write([]byte(askVersion)) // which is no TLS
		testkit.Must(t, err)
		_, _ = c.in.ReadString(0) // an alert, and the end
		c.Close()
		if _, err := askByTLS(t, p.addrs[0], config); err != nil {
			t.Fatal(err)
		}
	}
	p.end()
}

// TestClientsCertificatesAreRequested tests ssl_verify_mode, with certificate and key in one file.
func TestClientsCertificatesAreRequested(t *testing.T) {
	dir := t.TempDir()
	chain, ca := filepath.Join(dir, "chain"), filepath.Join(dir, "ca")
	anonymous := trusting(t, writeCertificate(t, chain, chain))
	known, unknown := anonymous.Clone(), anonymous.Clone()
	known.Certificates = []tls.Certificate{writeCertificate(t, ca, filepath.Join(dir, "ca-key"))}
	strange := writeCertificate(t, filepath.Join(dir, "s"), filepath.Join(dir, "s-key"))
	unknown.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &strange, nil }
	for mode, want := range map[string][3]bool{ // anonymous, known, unknown
		"0": {true, true, true},
		"1": {true, true, false},
		"2": {false, true, false},
		"3": {false, true, false},
	} {
		p := start(t, "-p", "-1", "-Z", "-o", "ssl_chain_cert="+chain+",ssl_ca_cert="+ca, "-o", "ssl_verify_mode="+mode)
		for i, config := range []*tls.Config{anonymous, known, unknown} {
			if _, err := askByTLS(t, p.addrs[0], config); (err == nil) != want[i] {
				t.Errorf("mode %s, client %d: %v", mode, i, err)
			}
		}
		p.end()
	}
}

// TestTLSIsConfiguredByTheOptions checks the result of a handshake.
func TestTLSIsConfiguredByTheOptions(t *testing.T) {
	chain := filepath.Join(t.TempDir(), "chain")
	client := trusting(t, writeCertificate(t, chain, chain))
	ask := func(options string, change func(c *tls.Config)) (first, second tls.ConnectionState, err error) {
		t.Helper()
		p := start(t, "-p", "-1", "-Z", "-o", "ssl_chain_cert="+chain+options)
		defer p.end()
		config := client.Clone()
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		change(config)
		if first, err = askByTLS(t, p.addrs[0], config); err == nil {
			second, err = askByTLS(t, p.addrs[0], config)
		}
		return first, second, err
	}
	_, state, err := ask("", func(*tls.Config) {})
	testkit.Must(t, err)
	equal(t, "that a session is resumed", state.DidResume, false)
	_, state, err = ask(",ssl_session_cache", func(*tls.Config) {})
	testkit.Must(t, err)
	equal(t, "that a session is resumed with ssl_session_cache", state.DidResume, true)
	if _, _, err = ask("", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	state, _, err = ask(",ssl_min_version=1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 })
	testkit.Must(t, err)
	equal(t, "the version with ssl_min_version=1", state.Version, tls.VersionTLS11)
	if _, _, err = ask(",ssl_min_version=3", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }); err == nil {
		t.Error("TLS 1.2 is accepted with ssl_min_version=3")
	}
	state, _, err = ask(",ssl_ciphers=ECDHE-ECDSA-CHACHA20-POLY1305", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
	testkit.Must(t, err)
	equal(t, "the cipher suite", state.CipherSuite, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256)
}

// TestCertificatesThatCannotBeReadAreAnError that names the file and the reason.
func TestCertificatesThatCannotBeReadAreAnError(t *testing.T) {
	dir := t.TempDir()
	chain, junk := filepath.Join(dir, "chain"), filepath.Join(dir, "junk")
	writeCertificate(t, chain, chain)
	testkit.Must(t, os.WriteFile(junk, []byte("nothing"), 0o600))
	for options, want := range map[string]string{
		"ssl_chain_cert=" + junk:                                             "evcached: -Z: certificate " + junk + ", key " + junk + ": tls: failed to find any PEM data",
		"ssl_chain_cert=" + chain + ",ssl_key=" + dir:                        "evcached: -Z: certificate " + chain + ", key " + dir + ": read " + dir,
		"ssl_verify_mode=2,ssl_chain_cert=" + chain + ",ssl_ca_cert=" + junk: "evcached: -Z: certificates of clients' authorities: " + junk + " contains none",
	} {
		if got := refused(t, statusUsage, "-Z", "-p", "-1", "-o", options); !strings.HasPrefix(got, want) {
			t.Errorf("-o %s: it says %q, want %q", options, got, want)
		}
	}
}

//go:build linux || darwin || freebsd

package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// certificates is the configuration of TLS from the options, with files that can be read again. Open connections keep the certificate with which
// they began.
type certificates struct {
	settings tlsSettings
	current  atomic.Pointer[tls.Config]
	read     atomic.Pointer[time.Time] // when the files were read
}

// loadCertificates reads the files of -o ssl_...
func loadCertificates(t tlsSettings) (*certificates, error) {
	c := &certificates{settings: t}
	return c, c.Reload()
}

// Reload reads the files again. On an error nothing changes.
func (c *certificates) Reload() error {
	t := &c.settings
	key := t.key
	if key == "" {
		key = t.chain
	}
	pair, err := tls.LoadX509KeyPair(t.chain, key)
	if err != nil {
		return fmt.Errorf("certificate %s, key %s: %w", t.chain, key, err)
	}
	config := c.base()
	config.Certificates = []tls.Certificate{pair}
	if t.ca != "" {
		pem, err := os.ReadFile(t.ca)
		if err != nil {
			return fmt.Errorf("certificates of clients' authorities: %w", err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("certificates of clients' authorities: %s contains none", t.ca)
		}
	}
	now := time.Now()
	c.current.Store(config)
	c.read.Store(&now)
	return nil
}

// readAt returns the time when the files in use were read.
func (c *certificates) readAt() time.Time { return *c.read.Load() }

// base returns the part of the configuration that does not depend on files.
func (c *certificates) base() *tls.Config {
	t := &c.settings
	return &tls.Config{MinVersion: t.minVersion, CipherSuites: t.ciphers, ClientAuth: t.verify, SessionTicketsDisabled: !t.resume}
}

// server returns the configuration for a server. It has its own keys for session tickets, which remain valid after a Reload.
func (c *certificates) server() *tls.Config {
	config := c.base()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current.Load(), nil }
	return config
}

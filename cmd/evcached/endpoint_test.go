//go:build linux || darwin || freebsd

package main

import (
	"context"
	"crypto/tls"
	"slices"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// TestAddressesAreParsed in every form of -l that memcached accepts.
func TestAddressesAreParsed(t *testing.T) {
	for text, want := range map[string]endpoint{
		"127.0.0.1":           {host: "127.0.0.1"},
		"127.0.0.1:12000":     {host: "127.0.0.1", port: 12000, own: true},
		"127.0.0.1:0":         {host: "127.0.0.1", own: true},
		"notls: 127.0.0.1":    {host: "127.0.0.1", bare: true},
		"::1":                 {host: "::1"},
		"[::1]":               {host: "::1"},
		"[::1]:12000":         {host: "::1", port: 12000, own: true},
		"fe80::1%eth0":        {host: "fe80::1%eth0"},
		"localhost":           {host: "localhost"},
		"localhost:12000":     {host: "localhost", port: 12000, own: true},
		"*":                   {},
		"*:12000":             {port: 12000, own: true},
		"notls:*":             {bare: true},
		"notls:[::1]:12000":   {host: "::1", port: 12000, own: true, bare: true},
		"notls:10.0.0.1:1211": {host: "10.0.0.1", port: 1211, own: true, bare: true},
	} {
		if got, err := parseEndpoint(text); err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
}

// TestAPortInTheAddressTakesPrecedence over -p and -U, as in memcached.
func TestAPortInTheAddressTakesPrecedence(t *testing.T) {
	equal(t, "the port", endpoint{}.at(12000), 12000)
	equal(t, "the port", endpoint{}.at(-1), 0)
	equal(t, "the port", endpoint{port: 12001, own: true}.at(12000), 12001)
	equal(t, "the port", endpoint{own: true}.at(12000), 0)
}

// TestANameStandsForItsAddresses looks up localhost.
func TestANameStandsForItsAddresses(t *testing.T) {
	got, err := endpoint{host: "localhost"}.hosts(context.Background())
	testkit.Must(t, err)
	if !slices.Contains(got, "127.0.0.1") && !slices.Contains(got, "::1") {
		t.Errorf("localhost is %q", got)
	}
}

// TestCipherSuitesHaveOpenSSLsNames compares with what `openssl ciphers -stdname` prints.
func TestCipherSuitesHaveOpenSSLsNames(t *testing.T) {
	for name, want := range map[uint16]string{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       "ECDHE-ECDSA-AES128-GCM-SHA256",
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:         "ECDHE-RSA-AES256-GCM-SHA384",
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:   "ECDHE-RSA-CHACHA20-POLY1305",
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA:            "ECDHE-RSA-AES128-SHA",
		tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256:         "ECDHE-RSA-AES128-SHA256",
		tls.TLS_RSA_WITH_AES_256_GCM_SHA384:               "AES256-GCM-SHA384",
		tls.TLS_RSA_WITH_AES_128_CBC_SHA:                  "AES128-SHA",
		tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA:                 "DES-CBC3-SHA",
	} {
		equal(t, "a name", opensslName(tls.CipherSuiteName(name)), want)
	}
}

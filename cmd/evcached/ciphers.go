//go:build linux || darwin || freebsd

package main

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// setCiphers parses the value of ssl_ciphers, a list of names. OpenSSL's other expressions, such as HIGH:!aNULL, are not supported.
func setCiphers(s *settings, value string) error {
	known := slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites())
	known = slices.DeleteFunc(known, func(c *tls.CipherSuite) bool { return c.SupportedVersions[0] == tls.VersionTLS13 })
	s.tls.ciphers, s.tls.list = nil, value
	for _, name := range strings.Split(value, ":") {
		i := slices.IndexFunc(known, func(c *tls.CipherSuite) bool { return name == c.Name || name == opensslName(c.Name) })
		if i < 0 {
			return fmt.Errorf("there is no cipher suite %q", name)
		}
		s.tls.ciphers = append(s.tls.ciphers, known[i].ID)
	}
	return nil
}

// opensslName returns OpenSSL's name of a cipher suite of TLS 1.2 or earlier: ECDHE-RSA-AES128-GCM-SHA256 for
// TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256. OpenSSL's names omit a key exchange by RSA, CBC, and the hash after POLY1305.
func opensslName(name string) string {
	name = strings.TrimPrefix(name, "TLS_")
	name = strings.TrimPrefix(name, "RSA_WITH_")
	return strings.NewReplacer("_WITH", "", "AES_", "AES", "3DES_EDE_CBC", "DES-CBC3", "_CBC", "", "POLY1305_SHA256", "POLY1305", "_", "-").Replace(name)
}

//go:build linux || darwin || freebsd

package main

import (
	"crypto/tls"

	"github.com/evmq/evmq/memcache"
)

// check checks the combination of options, and sets defaults that depend on other options. given reports whether a long name was given.
func (s *settings) check(given func(name string) bool) error {
	if given("udp-port") && s.udpPort != 0 && !given("port") {
		s.port = s.udpPort // as in memcached
	}
	if len(s.passed) > 0 {
		if s.daemon {
			return usage("-d cannot be combined with sockets from a service manager, which supervises the process itself")
		}
		for _, name := range []string{"port", "udp-port", "listen", "unix-socket"} {
			if given(name) {
				s.warn("--%s is ignored: the service manager has passed the sockets", name)
			}
		}
		s.port, s.udpPort, s.listen, s.socket = 0, 0, nil, ""
	}
	if s.socket != "" {
		for _, name := range []string{"port", "udp-port", "listen", "enable-ssl"} {
			if given(name) {
				s.warn("--%s is ignored: with -s there is no network", name)
			}
		}
		s.port, s.udpPort, s.listen, s.tls.on = 0, 0, nil, false
	}
	for _, check := range []func() error{s.checkItems, s.checkUsers, s.checkTLS} {
		if err := check(); err != nil {
			return err
		}
	}
	if len(s.passed) == 0 && s.socket == "" && s.port == 0 && s.udpPort == 0 {
		return usage("no socket to listen on: -p 0 without -U and -s")
	}
	return nil
}

func (s *settings) checkItems() error {
	if int64(s.config.MaxItem) > s.config.Memory/2 {
		return usage("items of %d bytes (-I) are more than half of the memory, %d megabytes (-m)", s.config.MaxItem, s.config.Memory>>20)
	}
	return nil
}

// checkUsers ensures that clients cannot bypass authentication.
func (s *settings) checkUsers() error {
	c := &s.config
	switch {
	case c.SASL && s.authFile == "":
		return usage("-S needs -Y: a file of users")
	case c.SASL && c.Protocol == memcache.Text:
		return usage("-S needs the binary protocol, and -B ascii allows only the text protocol")
	case s.authFile != "" && !c.SASL && c.Protocol == memcache.Binary:
		return usage("-B binary with -Y needs -S, because no client could authenticate otherwise")
	case s.authFile != "" && s.udpPort != 0:
		return usage("-Y cannot protect UDP: -U 0")
	case s.authFile != "" && !c.SASL:
		c.Protocol = memcache.Text
	case c.SASL:
		c.Protocol = memcache.Binary
	}
	return nil
}

func (s *settings) checkTLS() error {
	t := &s.tls
	switch {
	case !t.on:
		if t.given {
			s.warn("-o ssl_... is ignored without -Z on a TCP port")
		}
	case s.port == 0 && len(s.passed) == 0:
		return usage("-Z needs a TCP port")
	case t.chain == "":
		return usage("-Z needs a certificate: -o ssl_chain_cert=file")
	case t.verify != tls.NoClientCert && t.ca == "":
		return usage("-o ssl_verify_mode=%s needs the certificates of the clients' authorities: -o ssl_ca_cert=file", t.mode)
	}
	return nil
}

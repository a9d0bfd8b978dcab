//go:build linux || darwin || freebsd

package main

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/evmq/evmq/memcache"
)

// settings is the result of parsing a command line.
type settings struct {
	config memcache.Config

	port, udpPort int      // 0: none; -1: any
	listen        []string // the values of -l, split at commas
	socket        string   // the unix socket's file; "" for none
	socketMode    fs.FileMode
	passed        []*os.File // sockets from a service manager, instead of those above
	backlog       int
	conns         int
	refuse        bool // connections above conns are refused; otherwise they wait
	idle          time.Duration
	loops         int
	tls           tlsSettings

	authFile, pidFile, user string
	memoryFile              string // of -e; "" for none
	daemon, shutdown        bool
	notify                  notifier

	switches []memcache.Setting // settings changed by options on which the answers to commands depend

	warnings []string
}

// tlsSettings is the part about TLS.
type tlsSettings struct {
	on                  bool
	chain, key, ca      string // files
	verify              tls.ClientAuthType
	minVersion          uint16
	ciphers             []uint16 // of TLS 1.2 and before; nil for crypto/tls's choice
	resume              bool
	given               bool   // an option about it was there
	mode, minimum, list string // as stats settings has verify, minVersion and ciphers
}

// defaultAddress is the address without -l: other machines can use the cache only if -l allows it.
const defaultAddress = "127.0.0.1"

func defaults() *settings {
	return &settings{
		config:     memcache.Config{Memory: memcache.DefaultMemory, MaxItem: memcache.DefaultMaxItem, PerTurn: memcache.DefaultPerTurn},
		port:       11211,
		socketMode: 0o700,
		backlog:    1024,
		conns:      1024,
		refuse:     true,
		loops:      processors(),
		tls:        tlsSettings{minVersion: tls.VersionTLS12, mode: "0", minimum: "tlsv1.2"},
	}
}

// processors returns the number of loops without -t. memcached has 4 threads on any machine; more loops than processors gain nothing.
func processors() int { return min(runtime.GOMAXPROCS(0), runtime.NumCPU()) }

// warn adds a warning for standard error, unless it is a repetition.
func (s *settings) warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(s.warnings, text) {
		s.warnings = append(s.warnings, text)
	}
}

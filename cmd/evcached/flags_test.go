//go:build linux || darwin || freebsd

package main

import (
	"crypto/tls"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
)

// TestCommandLinesAreParsedAsByMemcached compares the settings with the defaults, changed by a function.
func TestCommandLinesAreParsedAsByMemcached(t *testing.T) {
	here, err := filepath.Abs("x")
	testkit.Must(t, err)
	for _, row := range commandLines(here) {
		want := defaults()
		row.want(want)
		got, err := parse(row.args, nil)
		if err != nil {
			t.Errorf("%q: %v", row.args, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as\n%+v\nwant\n%+v", row.args, got, want)
		}
	}
}

// A commandLine is arguments and how they differ from the defaults.
type commandLine struct {
	args []string
	want func(s *settings)
}

// commandLines returns command lines that are valid; here is the absolute path of the file x.
func commandLines(here string) []commandLine {
	return append(commandLinesOfOptions(here), commandLinesOfTLS(here)...)
}

func commandLinesOfOptions(here string) []commandLine {
	return []commandLine{
		{nil, func(*settings) {}},
		{[]string{"-p", "12000"}, func(s *settings) { s.port = 12000 }},
		{[]string{"-p12000"}, func(s *settings) { s.port = 12000 }},
		{[]string{"--port=12000"}, func(s *settings) { s.port = 12000 }},
		{[]string{"--port", "12000"}, func(s *settings) { s.port = 12000 }},
		{[]string{"--po", "12000"}, func(s *settings) { s.port = 12000 }},
		{[]string{"-p", "-1"}, func(s *settings) { s.port = -1 }},
		{[]string{"-U", "12001"}, func(s *settings) { s.port, s.udpPort = 12001, 12001 }},
		{[]string{"-U12001", "-p12000"}, func(s *settings) { s.port, s.udpPort = 12000, 12001 }},
		{[]string{"-U", "12001", "-p", "0"}, func(s *settings) { s.port, s.udpPort = 0, 12001 }},
		{[]string{"-l", "a,b;c", "-l", "[::1]:1", "--listen=d"}, func(s *settings) { s.listen = []string{"a", "b", "c", "[::1]:1", "d"} }},
		{[]string{"-s", "x", "-a", "0777"}, func(s *settings) { s.port, s.socket, s.socketMode = 0, here, 0o777 }},
		{[]string{"-c", "5", "-b", "6", "-t", "7", "-R", "8"}, func(s *settings) { s.conns, s.backlog, s.loops, s.config.PerTurn = 5, 6, 7, 8 }},
		{[]string{"-m", "100"}, func(s *settings) { s.config.Memory = 100 << 20 }},
		{[]string{"-m", "100000"}, func(s *settings) { s.config.Memory = 100000 << 20 }},
		{[]string{"-I", "1024"}, func(s *settings) { s.config.MaxItem = 1024 }},
		{[]string{"-I", "5k"}, func(s *settings) { s.config.MaxItem = 5 << 10 }},
		{[]string{"-I", "5K"}, func(s *settings) { s.config.MaxItem = 5 << 10 }},
		{[]string{"-I", "2m"}, func(s *settings) { s.config.MaxItem = 2 << 20 }},
		{[]string{"-m", "2048", "-I", "1024M"}, func(s *settings) { s.config.Memory, s.config.MaxItem = 2<<30, 1<<30 }},
		{[]string{"-MCFX"}, func(s *settings) { c := &s.config; c.NoEvict, c.NoCAS, c.NoFlush, c.NoDump = true, true, true, true }},
		{[]string{"-W", "-o", "watcher_logbuf_size=4,worker_logbuf_size=128"}, func(s *settings) {
			s.config.NoWatch, s.config.WatcherLog, s.config.WorkerLog = true, 4<<10, 128<<10
		}},
		{[]string{"-v"}, func(s *settings) { s.config.Verbosity = 1 }},
		{[]string{"-vv"}, func(s *settings) { s.config.Verbosity = 2 }},
		{[]string{"-vvvp12000"}, func(s *settings) { s.config.Verbosity, s.port = 3, 12000 }},
		{[]string{"-v", "--verbose"}, func(s *settings) { s.config.Verbosity = 2 }},
		{[]string{"-B", "ascii"}, func(s *settings) { s.config.Protocol = memcache.Text }},
		{[]string{"-B", "binary"}, func(s *settings) { s.config.Protocol = memcache.Binary }},
		{[]string{"-B", "auto"}, func(*settings) {}},
		{[]string{"-Y", "x"}, func(s *settings) { s.authFile, s.config.Protocol = here, memcache.Text }},
		{[]string{"-Y", "x", "-S"}, func(s *settings) { s.authFile, s.config.SASL, s.config.Protocol = here, true, memcache.Binary }},
		{[]string{"-e", "x"}, func(s *settings) { s.memoryFile = here }},
		{[]string{"-d", "-P", "x", "-u", "who", "-A"}, func(s *settings) { s.daemon, s.pidFile, s.user, s.shutdown = true, here, "who", true }},
		{[]string{"-o", "idle_timeout=3,no_maxconns_fast"}, func(s *settings) { s.idle, s.refuse = 3*time.Second, false }},
		{[]string{"-o", "no_maxconns_fast", "-o", "maxconns_fast,"}, func(*settings) {}},
		{[]string{"-o", "no_modern"}, func(s *settings) { s.refuse, s.switches = false, switches["no_modern"] }},
		{[]string{"-o", "temporary_ttl=5"}, func(s *settings) {
			s.switches = []memcache.Setting{{Name: "temp_lru", Value: "yes"}, {Name: "temporary_ttl", Value: "5"}}
		}},
		{[]string{"-o", "track_sizes"}, func(s *settings) { s.switches = []memcache.Setting{{Name: "track_sizes", Value: "yes"}} }},
	}
}

func commandLinesOfTLS(here string) []commandLine {
	return []commandLine{
		{[]string{"-Z", "-o", "ssl_chain_cert=x"}, func(s *settings) { s.tls.on, s.tls.given, s.tls.chain = true, true, here }},
		{[]string{"-Z", "-o", "ssl_chain_cert=x,ssl_key=x,ssl_ca_cert=x,ssl_verify_mode=2,ssl_min_version=3,ssl_session_cache,ssl_keyformat=PEM"},
			func(s *settings) {
				s.tls = tlsSettings{on: true, given: true, chain: here, key: here, ca: here, verify: tls.RequireAndVerifyClientCert, mode: "2",
					minVersion: tls.VersionTLS13, minimum: "tlsv1.3", resume: true}
			}},
		{[]string{"-Z", "-o", "ssl_chain_cert=x,ssl_ca_cert=x,ssl_verify_mode=1,ssl_ciphers=AES128-SHA:TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
			func(s *settings) {
				s.tls = tlsSettings{on: true, given: true, chain: here, ca: here, verify: tls.VerifyClientCertIfGiven, mode: "1",
					minVersion: tls.VersionTLS12, minimum: "tlsv1.2", list: "AES128-SHA:TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
					ciphers: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
			}},
	}
}

// TestDefaultsAreThoseOfTheDocumentation compares each with its documented value.
func TestDefaultsAreThoseOfTheDocumentation(t *testing.T) {
	s := defaults()
	equal(t, "the port", s.port, 11211)
	equal(t, "the UDP port", s.udpPort, 0)
	equal(t, "the number of connections", s.conns, 1024)
	equal(t, "the backlog", s.backlog, 1024)
	equal(t, "the memory", s.config.Memory, 64<<20)
	equal(t, "the largest item", s.config.MaxItem, 1<<20)
	equal(t, "the requests of a turn", s.config.PerTurn, 20)
	equal(t, "the idle timeout", s.idle, 0)
	equal(t, "the socket's mode", s.socketMode, 0o700)
	equal(t, "the least version of TLS", s.tls.minVersion, tls.VersionTLS12)
}

// TestOptionsWithoutEffectAreAcceptedWithOneWarning passes each such option twice, in the form that memcached accepts.
func TestOptionsWithoutEffectAreAcceptedWithOneWarning(t *testing.T) {
	rows := map[string][]string{
		"-f (--slab-growth-factor) is ignored: there are no slabs":                  {"-f", "1.25", "-f1.1"},
		"-n (--slab-min-size) is ignored: there are no slabs":                       {"-n48", "--slab-min-size=3"},
		"-L (--enable-largepages) is ignored: the Go runtime chooses the pages":     {"-LL"},
		"-k (--lock-memory) is ignored: memory is not locked":                       {"-k", "--lock-memory"},
		"-r (--enable-coredumps) is ignored: GOTRACEBACK=crash enables core files":  {"-r"},
		"-D (--prefix-delimiter) is ignored: a prefix ends at a colon":              {"-D", ":", "-D."},
		"-N (--napi-ids) is ignored: connections are assigned to the loops in turn": {"-N3", "--napi-ids", "4"},
		`argument "stray" is not an option and is ignored`:                          {"stray", "--", "stray"},
		"--port is ignored: with -s there is no network":                            {"-s", "/tmp/x", "-p", "12000"},
		"--udp-port is ignored: with -s there is no network":                        {"-s", "/tmp/x", "-U", "12000"},
		"--listen is ignored: with -s there is no network":                          {"-s", "/tmp/x", "-l", "::1"},
		"--enable-ssl is ignored: with -s there is no network":                      {"-Z", "-s", "/tmp/x"},
		"-o ssl_... is ignored without -Z on a TCP port":                            {"-o", "ssl_session_cache"},
		"-o hashpower is ignored: the cache has its own hash table":                 {"-o", "hashpower=20,hashpower=20"},
		"-o ssl_wbuf_size is ignored: buffers have fixed bounds":                    {"-o", "ssl_wbuf_size=20"},
		"-o ext_path is ignored: there is no storage outside memory":                {"-o", "ext_path=/tmp/x:1G"},
		"-o no_lru_crawler is ignored: the cache has its own eviction policy":       {"-o", "no_lru_crawler"},
		"-o slab_automove is ignored: there are no slabs":                           {"-o", "slab_automove"},
		"-o modern is ignored: it enables no options here":                          {"-o", "modern"},
		"-o no_drop_privileges is ignored: evcached does not control it":            {"-o", "no_drop_privileges"},
		"-o slab_chunk_max is ignored: there are no slabs":                          {"--extended", "slab_chunk_max=16384"},
	}
	for want, args := range rows {
		s, err := parse(args, nil)
		if err != nil {
			t.Errorf("%q: %v", args, err)
		} else if !slices.Equal(s.warnings, []string{want}) {
			t.Errorf("%q warns of %q, want %q", args, s.warnings, want)
		}
	}
}

// TestOptionsAreThoseOfMemcached compares names, letters and arguments with those of memcached 1.6.18.
func TestOptionsAreThoseOfMemcached(t *testing.T) {
	flags := defaults().flags()
	const letters = "a:AZp:s:U:m:Mc:khiVrvdl:u:P:f:n:t:D:LR:Cb:B:I:SFXWY:e:o:N:" // as getopt(3) writes it
	for i := 0; i < len(letters); i++ {
		letter := letters[i : i+1]
		argument := i+1 < len(letters) && letters[i+1] == ':'
		if argument {
			i++
		}
		f := flags.ShorthandLookup(letter)
		if f == nil {
			t.Errorf("there is no -%s", letter)
		} else {
			equal(t, "that -"+letter+" takes an argument", f.NoOptDefVal == "", argument)
		}
	}
	for _, name := range []string{"unix-mask", "enable-shutdown", "enable-ssl", "port", "unix-socket", "udp-port", "memory-limit", "disable-evictions",
		"conn-limit", "lock-memory", "help", "license", "version", "enable-coredumps", "verbose", "daemon", "listen", "user", "pidfile",
		"slab-growth-factor", "slab-min-size", "threads", "enable-largepages", "max-reqs-per-event", "disable-cas", "listen-backlog", "protocol",
		"max-item-size", "enable-sasl", "disable-flush-all", "disable-dumping", "disable-watch", "auth-file", "memory-file", "extended", "napi-ids"} {
		if flags.Lookup(name) == nil {
			t.Errorf("there is no --%s", name)
		}
	}
}

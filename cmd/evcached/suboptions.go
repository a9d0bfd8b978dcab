//go:build linux || darwin || freebsd

package main

import (
	"crypto/tls"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evmq/evmq/memcache"
)

// suboption is one of the names that -o knows and that mean something here.
type suboption struct {
	name, argument, text string
	set                  func(s *settings, value string) error
}

var suboptions = []suboption{
	{"maxconns_fast", "", "tell who comes above -c at once, and close (default)", func(s *settings, _ string) error { s.refuse = true; return nil }},
	{"no_maxconns_fast", "", "let who comes above -c wait until another one leaves", func(s *settings, _ string) error { s.refuse = false; return nil }},
	{"idle_timeout", "seconds", "close a connection that is silent for so long (default 0, never)", setIdle},
	{"watcher_logbuf_size", "kilobytes", "lines that each client of watch may have waiting (default 256)", logSize(func(c *memcache.Config) *int { return &c.WatcherLog })},
	{"worker_logbuf_size", "kilobytes", "lines that each event loop may have waiting for them (default 64)", logSize(func(c *memcache.Config) *int { return &c.WorkerLog })},
	{"ssl_chain_cert", "file", "certificates in PEM format, ours first", file(func(s *settings) *string { return &s.tls.chain })},
	{"ssl_key", "file", "our private key, if the other file does not have it", file(func(s *settings) *string { return &s.tls.key })},
	{"ssl_ca_cert", "file", "who signs clients' certificates, in PEM format", file(func(s *settings) *string { return &s.tls.ca })},
	{"ssl_verify_mode", "n", "clients' certificates: 0, none are asked for (default); 1, checked if given; 2 or 3, required", setVerify},
	{"ssl_min_version", "n", "least version: 0, TLS 1.0; 1, TLS 1.1; 2, TLS 1.2 (default); 3, TLS 1.3", setMinVersion},
	{"ssl_ciphers", "list", "cipher suites of TLS 1.2 and before, by colons, in OpenSSL's or IANA's names", setCiphers},
	{"ssl_keyformat", "PEM", "nothing else is known", setKeyFormat},
	{"no_modern", "", "as no_maxconns_fast, and answers to commands about slabs and LRU as if these were turned off", setNoModern},
	{"temporary_ttl", "seconds", "as lru temp_ttl: stats settings shows it, without effect", setTemporary},
	{"track_sizes", "", "have stats sizes show sizes from the start", func(s *settings, _ string) error { s.turn("track_sizes", "yes"); return nil }},
	{"ssl_session_cache", "", "let clients resume sessions", func(s *settings, _ string) error { s.tls.resume = true; return nil }},
}

// ignoredSuboptions have no meaning here, by why.
var ignoredSuboptions = map[string][]string{
	"there are no slabs": {"slab_reassign", "no_slab_reassign", "slab_automove", "no_slab_automove", "slab_automove_ratio", "slab_automove_window",
		"slab_automove_freeratio", "slab_sizes", "slab_chunk_max", "no_chunked_items"},
	"the cache has an eviction of its own": {"lru_crawler", "no_lru_crawler", "lru_crawler_sleep", "lru_crawler_tocrawl", "lru_maintainer",
		"no_lru_maintainer", "hot_lru_pct", "warm_lru_pct", "hot_max_factor", "warm_max_factor", "tail_repair_time"},
	"the cache has a table of its own": {"hashpower", "hash_algorithm", "no_hashexpand"},
	"there is no storage outside memory": {"ext_path", "ext_page_size", "ext_wbuf_size", "ext_threads", "ext_io_depth", "ext_item_size",
		"ext_item_age", "ext_low_ttl", "ext_drop_unread", "ext_recache_rate", "ext_compact_under", "ext_drop_under", "ext_max_sleep", "ext_max_frag"},
	"buffers are bounded by themselves":   {"read_buf_mem_limit", "resp_obj_mem_limit", "inline_ascii_resp", "no_inline_ascii_resp", "ssl_wbuf_size"},
	"there are no defaults of the future": {"modern"},
	"it is not in the program's power":    {"drop_privileges", "no_drop_privileges", "sock_cookie_id", "ssl_kernel_tls"},
}

// switches are those of the ignored options on which answers depend: whether a command is refused, which statistics there are.
var switches = map[string][]memcache.Setting{
	"slab_reassign":    {{Name: "slab_reassign", Value: "yes"}},
	"no_slab_reassign": {{Name: "slab_reassign", Value: "no"}},
	"no_slab_automove": {{Name: "slab_automove", Value: "0"}},
	"lru_crawler":      {{Name: "lru_crawler", Value: "yes"}},
	"no_lru_crawler":   {{Name: "lru_crawler", Value: "no"}},
	"lru_maintainer":   {{Name: "lru_maintainer_thread", Value: "yes"}, {Name: "lru_segmented", Value: "yes"}},
	"no_modern": {{Name: "slab_reassign", Value: "no"}, {Name: "slab_automove", Value: "0"}, {Name: "lru_crawler", Value: "no"},
		{Name: "lru_maintainer_thread", Value: "no"}, {Name: "lru_segmented", Value: "no"}},
	"no_lru_maintainer": {{Name: "lru_maintainer_thread", Value: "no"}, {Name: "lru_segmented", Value: "no"}},
}

// turn notes what stats settings is to show for a name. The last one for a name counts.
func (s *settings) turn(name, value string) {
	s.switches = append(s.switches, memcache.Setting{Name: name, Value: value})
}

// suboptions is the value of -o.
func (s *settings) suboptions(value string) error {
	for _, part := range strings.Split(value, ",") {
		if part == "" {
			continue
		}
		if err := s.suboption(part); err != nil {
			return err
		}
	}
	return nil
}

func (s *settings) suboption(part string) error {
	name, value, has := strings.Cut(part, "=")
	if i := slices.IndexFunc(suboptions, func(o suboption) bool { return o.name == name }); i >= 0 {
		o := suboptions[i]
		if o.argument != "" && (!has || value == "") {
			return illegal("%s needs an argument: %s=%s", name, name, o.argument)
		}
		s.tls.given = s.tls.given || strings.HasPrefix(name, "ssl_")
		if err := o.set(s, value); err != nil {
			return illegal("%s: %w", part, err)
		}
		return nil
	}
	for why, names := range ignoredSuboptions {
		if slices.Contains(names, name) {
			s.warn("-o %s is ignored: %s", name, why)
			for _, o := range switches[name] {
				s.turn(o.Name, o.Value)
			}
			return nil
		}
	}
	return illegal("there is no option %s", name)
}

func file(of func(s *settings) *string) func(*settings, string) error {
	return func(s *settings, value string) error { return path(of(s))(value) }
}

func setIdle(s *settings, value string) error {
	var seconds int
	err := number(&seconds, 0, math.MaxInt32, statusIllegal)(value)
	s.idle = time.Duration(seconds) * time.Second
	return err
}

func setNoModern(s *settings, _ string) error {
	s.refuse = false
	s.switches = append(s.switches, switches["no_modern"]...)
	return nil
}

func setTemporary(s *settings, value string) error {
	var seconds int
	if err := number(&seconds, 0, math.MaxInt32, statusIllegal)(value); err != nil {
		return err
	}
	s.turn("temp_lru", "yes")
	s.turn("temporary_ttl", strconv.Itoa(seconds))
	return nil
}

// logSize is the size of a buffer of the watch command, in kilobytes. One that holds no line would be of no use: see memcache.Config.
func logSize(of func(c *memcache.Config) *int) func(*settings, string) error {
	return func(s *settings, value string) error {
		var kilobytes int
		if err := number(&kilobytes, 1, maxLogSize>>10, statusIllegal)(value); err != nil {
			return err
		}
		*of(&s.config) = kilobytes << 10
		return nil
	}
}

// maxLogSize bounds what a client that watches may make the server hold, in bytes.
const maxLogSize = 64 << 20

func setVerify(s *settings, value string) error {
	var n int
	if err := number(&n, 0, 3, statusIllegal)(value); err != nil {
		return err
	}
	s.tls.mode = value
	s.tls.verify = []tls.ClientAuthType{tls.NoClientCert, tls.VerifyClientCertIfGiven, tls.RequireAndVerifyClientCert, tls.RequireAndVerifyClientCert}[n]
	return nil
}

func setMinVersion(s *settings, value string) error {
	var n int
	if err := number(&n, 0, 3, statusIllegal)(value); err != nil {
		return err
	}
	s.tls.minimum = fmt.Sprintf("tlsv1.%d", n)
	s.tls.minVersion = uint16(tls.VersionTLS10 + n)
	return nil
}

func setKeyFormat(_ *settings, value string) error {
	if value != "PEM" {
		return fmt.Errorf("keys are read in PEM format only")
	}
	return nil
}

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

// suboption is a name of -o that has an effect.
type suboption struct {
	name, argument, text string
	set                  func(s *settings, value string) error
}

var suboptions = []suboption{
	{"maxconns_fast", "", "close connections above -c, with an error (default)", func(s *settings, _ string) error { s.refuse = true; return nil }},
	{"no_maxconns_fast", "", "let connections above -c wait until another one is closed", func(s *settings, _ string) error { s.refuse = false; return nil }},
	{"idle_timeout", "seconds", "close a connection that is silent for so long (default 0, never)", setIdle},
	{"watcher_logbuf_size", "kilobytes", "buffer of lines for each watching client (default 256)", logSize(func(c *memcache.Config) *int { return &c.WatcherLog })},
	{"worker_logbuf_size", "kilobytes", "buffer of lines for watching clients in each event loop (default 64)", logSize(func(c *memcache.Config) *int { return &c.WorkerLog })},
	{"ssl_chain_cert", "file", "certificates in PEM format, the server's first", file(func(s *settings) *string { return &s.tls.chain })},
	{"ssl_key", "file", "the private key, if it is not in the other file", file(func(s *settings) *string { return &s.tls.key })},
	{"ssl_ca_cert", "file", "certificates of the authorities that sign clients' certificates, in PEM format", file(func(s *settings) *string { return &s.tls.ca })},
	{"ssl_verify_mode", "n", "clients' certificates: 0, none are asked for (default); 1, checked if given; 2 or 3, required", setVerify},
	{"ssl_min_version", "n", "least version: 0, TLS 1.0; 1, TLS 1.1; 2, TLS 1.2 (default); 3, TLS 1.3", setMinVersion},
	{"ssl_ciphers", "list", "cipher suites of TLS 1.2 and before, by colons, in OpenSSL's or IANA's names", setCiphers},
	{"ssl_keyformat", "PEM", "the only format", setKeyFormat},
	{"no_modern", "", "no_maxconns_fast, and answers to commands about slabs and LRU as if these were disabled", setNoModern},
	{"temporary_ttl", "seconds", "shown by stats settings as after lru temp_ttl, without effect", setTemporary},
	{"track_sizes", "", "stats sizes shows sizes from the start", func(s *settings, _ string) error { s.setSwitch("track_sizes", "yes"); return nil }},
	{"ssl_session_cache", "", "let clients resume sessions", func(s *settings, _ string) error { s.tls.resume = true; return nil }},
}

// ignoredSuboptions have no meaning here, by reason.
var ignoredSuboptions = map[string][]string{
	"there are no slabs": {"slab_reassign", "no_slab_reassign", "slab_automove", "no_slab_automove", "slab_automove_ratio", "slab_automove_window",
		"slab_automove_freeratio", "slab_sizes", "slab_chunk_max", "no_chunked_items"},
	"the cache has its own eviction policy": {"lru_crawler", "no_lru_crawler", "lru_crawler_sleep", "lru_crawler_tocrawl", "lru_maintainer",
		"no_lru_maintainer", "hot_lru_pct", "warm_lru_pct", "hot_max_factor", "warm_max_factor", "tail_repair_time"},
	"the cache has its own hash table": {"hashpower", "hash_algorithm", "no_hashexpand"},
	"there is no storage outside memory": {"ext_path", "ext_page_size", "ext_wbuf_size", "ext_threads", "ext_io_depth", "ext_item_size",
		"ext_item_age", "ext_low_ttl", "ext_drop_unread", "ext_recache_rate", "ext_compact_under", "ext_drop_under", "ext_max_sleep", "ext_max_frag"},
	"buffers have fixed bounds":    {"read_buf_mem_limit", "resp_obj_mem_limit", "inline_ascii_resp", "no_inline_ascii_resp", "ssl_wbuf_size"},
	"it enables no options here":   {"modern"},
	"evcached does not control it": {"drop_privileges", "no_drop_privileges", "sock_cookie_id", "ssl_kernel_tls"},
}

// switches are the ignored options on which answers depend: whether a command is refused, and which statistics are present.
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

// setSwitch sets the value of a name in stats settings. The last value of a name counts.
func (s *settings) setSwitch(name, value string) {
	s.switches = append(s.switches, memcache.Setting{Name: name, Value: value})
}

// suboptions parses the value of -o.
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
				s.setSwitch(o.Name, o.Value)
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
	s.setSwitch("temp_lru", "yes")
	s.setSwitch("temporary_ttl", strconv.Itoa(seconds))
	return nil
}

// logSize returns the function of an option with the size in kilobytes of a buffer of the watch command. memcache.Config has the minimum.
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

// maxLogSize is the maximum size of a buffer of the watch command, in bytes.
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

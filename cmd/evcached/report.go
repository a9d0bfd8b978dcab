//go:build linux || darwin || freebsd

package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/evmq/evmq/memcache"
)

// report returns the lines of stats settings that the cache itself does not provide.
func (s *settings) report() []memcache.Setting {
	t := &s.tls
	listen := strings.Join(s.listen, ",")
	if listen == "" && s.socket == "" {
		listen = defaultAddress
	}
	return append([]memcache.Setting{
		{Name: "maxconns", Value: strconv.Itoa(s.conns)},
		{Name: "tcpport", Value: strconv.Itoa(s.port)},
		{Name: "udpport", Value: strconv.Itoa(s.udpPort)},
		{Name: "inter", Value: orNull(listen)},
		{Name: "domain_socket", Value: orNull(s.socket)},
		{Name: "umask", Value: fmt.Sprintf("%o", s.socketMode)},
		{Name: "num_threads", Value: strconv.Itoa(s.loops)},
		{Name: "num_threads_per_udp", Value: strconv.Itoa(s.loops)},
		{Name: "tcp_backlog", Value: strconv.Itoa(s.backlog)},
		{Name: "maxconns_fast", Value: yesNo(s.refuse)},
		{Name: "idle_timeout", Value: fmt.Sprintf("%.0f", s.idle.Seconds())},
		{Name: "memory_file", Value: orNone(s.memoryFile)},
		{Name: "ssl_enabled", Value: yesNo(t.on)},
		{Name: "ssl_chain_cert", Value: orNull(t.chain)},
		{Name: "ssl_key", Value: orNull(t.key)},
		{Name: "ssl_ca_cert", Value: orNull(t.ca)},
		{Name: "ssl_verify_mode", Value: t.mode},
		{Name: "ssl_ciphers", Value: orNull(t.list)},
		{Name: "ssl_session_cache", Value: yesNo(t.resume)},
		{Name: "ssl_min_version", Value: t.minimum},
	}, s.switches...)
}

func orNull(s string) string {
	if s == "" {
		return "NULL"
	}
	return s
}

// orNone is orNull with memcached's other spelling of an empty value.
func orNone(s string) string {
	if s == "" {
		return "(null)"
	}
	return s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

//go:build linux || darwin || freebsd

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// endpoint is an address of -l: host, host:port, [host]:port, with notls: before it or not. An IPv6 address without a port needs no
// brackets.
type endpoint struct {
	host string // "" for all addresses
	port int    // if own
	own  bool
	bare bool // without TLS, though -Z is on
}

func parseEndpoint(text string) (e endpoint, err error) {
	rest, bare := strings.CutPrefix(text, "notls:")
	e.bare = bare
	rest = strings.TrimSpace(rest)
	e.host = rest
	if _, err := netip.ParseAddr(rest); err != nil { // there may be a port behind it
		if inside, ok := strings.CutPrefix(rest, "["); ok && strings.HasSuffix(inside, "]") {
			e.host = strings.TrimSuffix(inside, "]")
		} else if strings.Contains(rest, ":") {
			var port string
			if e.host, port, err = net.SplitHostPort(rest); err != nil {
				return e, fmt.Errorf("-l %s: %w", text, err)
			}
			if e.port, err = strconv.Atoi(port); err != nil || e.port < 0 || e.port > math.MaxUint16 {
				return e, fmt.Errorf("-l %s: the port must be a number from 0 to %d", text, math.MaxUint16)
			}
			e.own = true
		}
	}
	switch e.host {
	case "":
		return e, fmt.Errorf("-l %s: there is no address; * is all", text)
	case "*":
		e.host = ""
	}
	return e, nil
}

// at is the port to listen on: the address's own one, or the one of -p or -U.
func (e endpoint) at(port int) int {
	switch {
	case e.own:
		return e.port
	case port < 0:
		return 0 // any
	}
	return port
}

// hosts are the addresses behind the endpoint's name, as package net takes them.
func (e endpoint) hosts(ctx context.Context) ([]string, error) {
	if _, err := netip.ParseAddr(e.host); err == nil || e.host == "" {
		return []string{e.host}, nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", e.host)
	if err != nil {
		return nil, fmt.Errorf("-l %s: %w", e.host, err)
	}
	var hosts []string
	seen := map[netip.Addr]bool{}
	for _, a := range addrs {
		if a = a.Unmap(); !seen[a] {
			seen[a] = true
			hosts = append(hosts, a.String())
		}
	}
	if len(hosts) == 0 {
		return nil, fmt.Errorf("-l %s: %w", e.host, errNoAddress)
	}
	return hosts, nil
}

var errNoAddress = errors.New("the name has no address")

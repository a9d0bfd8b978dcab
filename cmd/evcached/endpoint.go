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

// endpoint is an address of -l: host, host:port or [host]:port, optionally after "notls:". An IPv6 address without a port needs no brackets.
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
	if _, err := netip.ParseAddr(rest); err != nil { // it may end with a port
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
		return e, fmt.Errorf("-l %s: the address is empty; * stands for all", text)
	case "*":
		e.host = ""
	}
	return e, nil
}

// at returns the port to listen on: that of the address, or otherwise that of -p or -U.
func (e endpoint) at(port int) int {
	switch {
	case e.own:
		return e.port
	case port < 0:
		return 0 // any
	}
	return port
}

// hosts returns the addresses of the endpoint's name, in the form of package net.
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

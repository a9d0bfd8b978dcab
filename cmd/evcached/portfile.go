//go:build linux || darwin || freebsd

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
)

// portFileEnv is the environment variable with the name of the file to which the ports are written. With -p -1 a script learns from the file
// which ports were chosen.
const portFileEnv = "MEMCACHED_PORT_FILENAME"

// writePorts writes a line for each TCP socket, and then for each UDP socket, to the file of portFileEnv. The file is replaced atomically, and
// remains when the program ends. Without the variable, or with a unix socket, nothing is written.
func writePorts(k *sockets) error {
	file := os.Getenv(portFileEnv)
	if file == "" || len(k.order) == 0 {
		return nil
	}
	var text []byte
	for _, network := range []string{"tcp", "udp"} {
		for _, a := range k.order {
			if a.Network() == network {
				text = append(text, portLine(a)...)
			}
		}
	}
	part := file + ".lck"
	err := os.WriteFile(part, text, 0o644)
	if err == nil {
		if err = os.Rename(part, file); err != nil {
			err = errors.Join(err, os.Remove(part))
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", portFileEnv, err)
	}
	return nil
}

// portLine returns the line for an address, or "" if it is not an internet address.
func portLine(a net.Addr) string {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil { // it is not an internet address
		return ""
	}
	protocol, family := "TCP", "INET"
	if a.Network() == "udp" {
		protocol = "UDP"
	}
	if !at.Addr().Is4() {
		family = "INET6"
	}
	return fmt.Sprintf("%s %s: %d\n", protocol, family, at.Port())
}

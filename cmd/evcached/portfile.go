//go:build linux || darwin || freebsd

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// portFileEnv is the environment variable with the name of the file to which the ports are written. With -p -1 a script learns from the file
// which ports were chosen.
const portFileEnv = "MEMCACHED_PORT_FILENAME"

// writePorts writes a line for each TCP socket, and then for each UDP socket, to the file of portFileEnv. A regular file is replaced atomically, and
// remains when the program ends. A device or a pipe is written to and not replaced: root could
// replace /dev/null. Without the variable, or with a unix socket, nothing is written.
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
	if err := replaceFile(file, text); err != nil {
		return fmt.Errorf("%s: %w", portFileEnv, err)
	}
	return nil
}

// replaceFile replaces a regular file, or writes to another kind of file.
func replaceFile(file string, text []byte) error {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return writeTo(file, text)
	}
	part := file + ".lck"
	if err := os.WriteFile(part, text, 0o644); err != nil {
		return err
	}
	if err := os.Rename(part, file); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return nil
}

// writeTo writes to a device or a pipe. It does not wait for the reader of a pipe to open it.
func writeTo(file string, text []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
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

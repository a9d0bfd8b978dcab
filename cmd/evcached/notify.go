//go:build linux || darwin || freebsd

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// notifier notifies a service manager of the program's state, as sd_notify(3) describes: by datagrams to the unix socket of this name. An empty
// notifier sends nothing.
type notifier string

// takeNotifier returns the notifier for NOTIFY_SOCKET. It removes the variable, which is not for child processes.
func takeNotifier() (notifier, error) {
	name := os.Getenv("NOTIFY_SOCKET")
	return notifier(name), os.Unsetenv("NOTIFY_SOCKET")
}

// States of the program.
const (
	stateReady    = "READY=1"
	stateStopping = "STOPPING=1"
)

// send sends a state.
func (n notifier) send(state string) error {
	if n == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: string(n), Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify the service manager of %s: %w", state, err)
	}
	_, err = c.Write([]byte(state))
	if err = errors.Join(err, c.Close()); err != nil {
		return fmt.Errorf("notify the service manager of %s: %w", state, err)
	}
	return nil
}

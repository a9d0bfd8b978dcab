//go:build linux || darwin || freebsd

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// notifier tells a service manager about the program's state, as sd_notify(3) describes: by datagrams to a unix socket. "" tells nobody.
type notifier string

// takeNotifier returns the notifier that NOTIFY_SOCKET asks for. It removes the variable: a child is not to be heard instead.
func takeNotifier() (notifier, error) {
	name := os.Getenv("NOTIFY_SOCKET")
	return notifier(name), os.Unsetenv("NOTIFY_SOCKET")
}

// The states that the program tells.
const (
	stateReady    = "READY=1"
	stateStopping = "STOPPING=1"
)

// tell sends a state.
func (n notifier) tell(state string) error {
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

//go:build linux

package peers_test

import (
	"net"
	"testing"

	"github.com/evmq/evmq/bench/internal/peertest"
)

const patience = peertest.Patience

// A variant is a server with flags.
type variant struct {
	name          string
	mode, framing string
}

func (v variant) String() string { return v.name + "/" + v.mode + "/" + v.framing }

// variants returns all servers with the modes that they have.
func variants(framings ...string) (all []variant) {
	for _, name := range []string{"evmq", "gnet", "nbio", "evio", "netpoll", "net"} {
		for _, mode := range []string{"loop", "pool"} {
			for _, framing := range framings {
				if name != "evio" || mode != "pool" {
					all = append(all, variant{name, mode, framing})
				}
			}
		}
	}
	return all
}

// start runs a server until the end of the test and returns its address.
func start(t *testing.T, v variant, more ...string) (addr string) {
	t.Helper()
	addr, _ = startProcess(t, v, more...)
	return addr
}

// startProcess is start, and returns the process too.
func startProcess(t *testing.T, v variant, more ...string) (addr string, pid int) {
	t.Helper()
	return peertest.Start(t, v.name, append([]string{"-mode", v.mode, "-framing", v.framing}, more...)...)
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	return peertest.Dial(t, addr)
}

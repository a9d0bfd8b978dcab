package server

import (
	"context"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
)

// startLookUp starts the goroutine that looks the address up, if it is a name. A shutdown waits for the goroutine. On the loop.
func (c *loopConn) startLookUp() {
	c.mu.Lock()
	d := c.ext.dial
	c.mu.Unlock()
	if d.targets == nil {
		c.loop.srv.goroutines.Go(func() { d.lookUp(&c.Conn) })
	}
}

// lookUp looks up the addresses of a name and passes them to the loop.
func (d *dialing) lookUp(c *Conn) {
	label(lookupLabels)
	var targets []unix.Sockaddr
	ctx, host, port := d.ctx, d.host, d.port
	n, err := d.resolver.LookupPort(ctx, d.network, port)
	if err == nil {
		family := "ip" + d.network[len("tcp"):]
		var addrs []netip.Addr
		switch {
		case host == "" && d.network == "tcp6":
			addrs = []netip.Addr{netip.IPv6Loopback()}
		case host == "":
			addrs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
		default:
			addrs, err = d.resolver.LookupNetIP(ctx, family, host)
		}
		for _, a := range addrs {
			if sa := sock.Sockaddr(d.network, netip.AddrPortFrom(a, uint16(n))); sa != nil {
				targets = append(targets, sa)
			}
		}
	}
	if err == nil && len(targets) == 0 {
		err = fmt.Errorf("%w: host %s has no address of network %s", ErrInvalid, host, d.network)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil { // this goroutine has noticed the end before the loop
		err = fmt.Errorf("%w: %w", cause, err)
	}
	c.mu.Lock()
	d.targets, d.err = sock.AlternateFamilies(targets), err
	queue := c.mark(cmdResolved)
	c.mu.Unlock()
	c.enqueue(queue)
}

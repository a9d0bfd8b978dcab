//go:build linux || darwin || freebsd

package sock_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
)

func TestAnAcceptedConnectionIsOursAndNamesItsPeer(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		l, addr := listen(t, p, nil)
		isOurs(t, l)
		client := closeLater(t, connect(t, p.network, l))
		server, peer := accept(t, l)
		closeLater(t, server)
		isOurs(t, server)

		local, err := sock.LocalPeer(client)
		testkit.Must(t, err)
		equal(t, "the peer is the client", peer, local)
		remote, err := sock.RemotePeer(server)
		testkit.Must(t, err)
		equal(t, "RemotePeer", remote, peer)
		remote, err = sock.RemotePeer(client)
		testkit.Must(t, err)
		_, err = sock.RemotePeer(l)
		equal(t, "of a listener", err, error(unix.ENOTCONN))
		if p.network == "unix" {
			equal(t, "a unix peer", peer.IsUnix(), true)
			equal(t, "its address", peer.AddrPort(), netip.AddrPort{})
			return
		}
		equal(t, "the client's peer is the listener", remote.Addr(p.network).String(), addr.String())
	})
}

// IPv4 through a listener for both families shows as IPv4, and can be answered.
func TestIPv4ThroughAnIPv6ListenerIsIPv4(t *testing.T) {
	if !hasIPv6(t) {
		return
	}
	both, _ := listen(t, place{network: "tcp", address: "[::]:0"}, nil)
	bound, err := sock.LocalPeer(both)
	testkit.Must(t, err)
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), bound.AddrPort().Port())
	sa := &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	client, err := sock.Socket("tcp4", sa)
	testkit.Must(t, err)
	closeLater(t, client)
	if err := kernel.Connect(client, sa); err != nil {
		equal(t, "Connect", err, error(unix.EINPROGRESS))
	}
	server, peer := accept(t, both)
	closeLater(t, server)
	equal(t, "address", peer.AddrPort().Addr(), to.Addr())
	local, err := sock.LocalPeer(client)
	testkit.Must(t, err)
	equal(t, "hash", peer.Hash(), local.Hash())
	equal(t, "String", peer.Addr("tcp").String(), local.Addr("tcp").String())
	if _, ok := peer.Sockaddr().(*unix.SockaddrInet6); !ok {
		t.Errorf("an answer would go by %T", peer.Sockaddr())
	}
}

// Out of descriptors, a connection stays in the queue; the reserve is what it is accepted and closed with.
func TestTheReserveLetsOneMoreConnectionIn(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		var reserve sock.Reserve
		testkit.Must(t, reserve.Release()) // nothing
		testkit.Must(t, reserve.Open())
		testkit.Must(t, reserve.Open()) // no second one
		equal(t, "Held", reserve.Held(), true)
		l, _ := listen(t, p, nil)
		client := closeLater(t, connect(t, p.network, l))
		wait(t, l, unix.POLLIN)

		allow := exhaust(t)
		_, _, err := kernel.Accept(l)
		equal(t, "Accept", err, error(unix.EMFILE))
		testkit.Must(t, reserve.Release())
		equal(t, "Held", reserve.Held(), false)
		server, _, err := kernel.Accept(l)
		testkit.Must(t, err)
		if err := reserve.Open(); !errors.Is(err, unix.EMFILE) {
			t.Errorf("Open with none left: %v", err)
		}
		testkit.Must(t, kernel.Close(server))
		testkit.Must(t, reserve.Open())
		allow()

		wait(t, client, unix.POLLIN)
		equal(t, "read", len(drain(t, client)), 0)
		testkit.Must(t, reserve.Release())
		testkit.Must(t, reserve.Release())
	})
}

// exhaust uses up the descriptors, under a limit that is low for the time.
func exhaust(t *testing.T) (allow func()) {
	var lim unix.Rlimit
	testkit.Must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &lim))
	soft, err := sock.OpenFiles()
	testkit.Must(t, err)
	equal(t, "OpenFiles", fmt.Sprint(soft), fmt.Sprint(lim.Cur)) // the types differ between systems
	low := lim
	low.Cur = 64
	testkit.Must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &low))
	var used []int
	for {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			equal(t, "open", err, error(unix.EMFILE))
			break
		}
		used = append(used, fd)
	}
	allowed := false
	allow = func() {
		if allowed {
			return
		}
		allowed = true
		for _, fd := range used {
			testkit.Must(t, unix.Close(fd))
		}
		testkit.Must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &lim))
	}
	t.Cleanup(allow)
	return allow
}

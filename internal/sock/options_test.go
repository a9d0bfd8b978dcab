//go:build linux || darwin || freebsd

package sock_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
)

var networks = []string{"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "unix", "unixgram"}

func TestTheZeroOptionsAreGoodForEveryNetwork(t *testing.T) {
	for _, network := range networks {
		testkit.Must(t, (&sock.Options{}).Check(network))
	}
	for _, network := range []string{"", "ip", "unixpacket", "TCP"} {
		err := (&sock.Options{}).Check(network)
		if want := net.UnknownNetworkError(network); !errors.Is(err, want) {
			t.Errorf("%q: %v", network, err)
		}
	}
}

func TestCheckNamesTheFieldAndTheValue(t *testing.T) {
	for _, c := range []struct {
		o           sock.Options
		field, says string
	}{
		{sock.Options{ReadBuffer: -1}, "ReadBuffer", "-1"},
		{sock.Options{ReadBuffer: 1 << 30}, "ReadBuffer", "1073741824"},
		{sock.Options{WriteBuffer: -7}, "WriteBuffer", "-7"},
		{sock.Options{LingerSeconds: 1 << 20}, "LingerSeconds", "1048576"},
		{sock.Options{UserTimeout: -time.Second}, "UserTimeout", "-1s"},
		{sock.Options{DeferAccept: -time.Second}, "DeferAccept", "-1s"},
		{sock.Options{FastOpen: -1}, "FastOpen", "-1"},
		{sock.Options{Device: "a-name-that-is-too-long"}, "Device", "a-name-that-is-too-long"},
		{sock.Options{KeepAlive: net.KeepAliveConfig{Idle: 10 * time.Hour}}, "KeepAlive.Idle", "10h0m0s"},
		{sock.Options{KeepAlive: net.KeepAliveConfig{Interval: 10 * time.Hour}}, "KeepAlive.Interval", "10h0m0s"},
		{sock.Options{KeepAlive: net.KeepAliveConfig{Count: 200}}, "KeepAlive.Count", "200"},
		{sock.Options{NoKeepAlive: true, KeepAlive: net.KeepAliveConfig{Enable: true}}, "NoKeepAlive", "KeepAlive.Enable"},
	} {
		for _, network := range networks {
			err := c.o.Check(network)
			if !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), c.field+" ") || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s on %s: %v", c.field, network, err)
			}
		}
	}
}

func TestCheckRefusesWhatANetworkDoesNotHave(t *testing.T) {
	linux := runtime.GOOS == "linux"
	for _, c := range []struct {
		field  string
		o      sock.Options
		on     string // the networks that have it
		others bool   // other systems have it
	}{
		{"ReusePort", sock.Options{ReusePort: true}, "tcp tcp4 tcp6 udp udp4 udp6", true},
		{"IPv6Only", sock.Options{IPv6Only: true}, "tcp tcp6 udp udp6", true},
		{"Device", sock.Options{Device: "lo"}, "tcp tcp4 tcp6 udp udp4 udp6", false},
		{"DeferAccept", sock.Options{DeferAccept: time.Second}, "tcp tcp4 tcp6", false},
		{"FastOpen", sock.Options{FastOpen: 1}, "tcp tcp4 tcp6", false},
		{"UserTimeout", sock.Options{UserTimeout: time.Second}, strings.Join(networks, " "), false},
	} {
		for _, network := range networks {
			has := strings.Contains(" "+c.on+" ", " "+network+" ") && (linux || c.others)
			err := c.o.Check(network)
			if has {
				testkit.Must(t, err)
			} else if !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), c.field+" ") {
				t.Errorf("%s on %s: %v", c.field, network, err)
			}
		}
	}
}

func TestListenersCheckTheirOptions(t *testing.T) {
	bad := &sock.Options{ReadBuffer: -1}
	_, _, _, err := sock.Listen(context.Background(), nil, "tcp", "127.0.0.1:0", bad)
	equal(t, "Listen", errors.Is(err, unix.EINVAL), true)
	_, _, _, err = sock.ListenPacket(context.Background(), nil, "udp", "127.0.0.1:0", bad)
	equal(t, "ListenPacket", errors.Is(err, unix.EINVAL), true)
	_, _, _, err = sock.Listen(context.Background(), nil, "udp", "127.0.0.1:0", nil)
	equal(t, "Listen on udp", errors.Is(err, net.UnknownNetworkError("udp")), true)
	_, _, _, err = sock.ListenPacket(context.Background(), nil, "tcp", "127.0.0.1:0", nil)
	equal(t, "ListenPacket on tcp", errors.Is(err, net.UnknownNetworkError("tcp")), true)
}

func TestReusePortSharesAnAddress(t *testing.T) {
	share := &sock.Options{ReusePort: true}
	_, addr := listen(t, place{network: "tcp4", address: "127.0.0.1:0"}, share)
	again := place{network: "tcp4", address: addr.String()}
	listen(t, again, share)
	_, _, _, err := sock.Listen(context.Background(), nil, again.network, again.address, nil)
	equal(t, "without it", errors.Is(err, unix.EADDRINUSE), true)
}

func TestIPv6OnlyLeavesIPv4Out(t *testing.T) {
	if !hasIPv6(t) {
		return
	}
	for _, only := range []bool{true, false} {
		l, _ := listen(t, place{network: "tcp", address: "[::]:0"}, &sock.Options{IPv6Only: only})
		equal(t, "IPV6_V6ONLY", option(t, l, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY) == 1, only)
	}
}

// A buffer's size can be set on the listener, where it counts for the handshake, or on the connection. On a unix socket
// only the latter is of use.
func TestBuffersAreSetOnConnections(t *testing.T) {
	onStreams(t, func(t *testing.T, p place) {
		o := &sock.Options{ReadBuffer: 16 << 10, WriteBuffer: 24 << 10}
		l, _ := listen(t, p, o)
		closeLater(t, connect(t, p.network, l))
		server, _ := accept(t, l)
		closeLater(t, server)
		if o.PerConn(p.network) {
			testkit.Must(t, o.ApplyConn(p.network, server))
		}
		for name, want := range map[int]int{unix.SO_RCVBUF: o.ReadBuffer, unix.SO_SNDBUF: o.WriteBuffer} {
			if got := option(t, server, unix.SOL_SOCKET, name); got != want && got != 2*want {
				t.Errorf("option %d: %d, want %d or double", name, got, want)
			}
		}
	})
}

func TestApplyConnNamesWhatFailed(t *testing.T) {
	_, server := pair(t, place{network: "unix", address: socketPath(t)})
	err := (&sock.Options{}).ApplyConn("tcp", server)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "no-delay") {
		t.Errorf("no-delay of a unix socket: %v", err)
	}
}

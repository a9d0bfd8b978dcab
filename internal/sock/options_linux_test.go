package sock_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/testkit"
)

// readLinger is the whole struct, in the machine's order: whether in one half, how long in the other.
func readLinger(t *testing.T, fd int) uint64 {
	t.Helper()
	v, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_LINGER)
	testkit.Must(t, err)
	return v
}

// tcpOptions reads what ApplyConn sets.
func tcpOptions(t *testing.T, fd int) map[string]uint64 {
	t.Helper()
	is := map[string]uint64{"linger": readLinger(t, fd)}
	for name, at := range map[string][2]int{
		"no-delay":     {unix.IPPROTO_TCP, unix.TCP_NODELAY},
		"keep-alive":   {unix.SOL_SOCKET, unix.SO_KEEPALIVE},
		"idle":         {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
		"interval":     {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
		"count":        {unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
		"user timeout": {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT},
		"read buffer":  {unix.SOL_SOCKET, unix.SO_RCVBUF},
		"write buffer": {unix.SOL_SOCKET, unix.SO_SNDBUF},
	} {
		is[name] = uint64(option(t, fd, at[0], at[1]))
	}
	return is
}

func onTCP(t *testing.T, test func(t *testing.T, p place)) {
	onStreams(t, func(t *testing.T, p place) {
		if p.network != "unix" {
			test(t, p)
		}
	})
}

// inherited accepts a connection and sets nothing on it.
func inherited(t *testing.T, p place, o *sock.Options) map[string]uint64 {
	t.Helper()
	l, _ := listen(t, p, o)
	closeLater(t, connect(t, p.network, l))
	server, _ := accept(t, l)
	return tcpOptions(t, closeLater(t, server))
}

func TestConnectionsInheritEachOptionOfTheirListener(t *testing.T) {
	onTCP(t, func(t *testing.T, p place) {
		plain := inherited(t, p, &sock.Options{})
		for what, want := range map[string]uint64{
			"no-delay": 1, "keep-alive": 1, "idle": 15, "interval": 15, "count": 9, "user timeout": 0, "linger": 0,
		} {
			equal(t, "by default: "+what, plain[what], want)
		}
		for _, c := range []struct {
			what string
			o    sock.Options
			want uint64
		}{
			{"no-delay", sock.Options{Delay: true}, 0},
			{"keep-alive", sock.Options{NoKeepAlive: true}, 0},
			{"idle", sock.Options{KeepAlive: net.KeepAliveConfig{Idle: 40 * time.Second}}, 40},
			{"idle", sock.Options{KeepAlive: net.KeepAliveConfig{Idle: time.Millisecond}}, 1},
			{"interval", sock.Options{KeepAlive: net.KeepAliveConfig{Interval: 1500 * time.Millisecond}}, 2},
			{"count", sock.Options{KeepAlive: net.KeepAliveConfig{Count: 4}}, 4},
			{"user timeout", sock.Options{UserTimeout: 2500 * time.Microsecond}, 3},
			{"read buffer", sock.Options{ReadBuffer: 20_000}, 40_000},
			{"write buffer", sock.Options{WriteBuffer: 30_000}, 60_000},
		} {
			equal(t, "PerConn", c.o.PerConn(p.network), false)
			got := inherited(t, p, &c.o)
			equal(t, c.what, got[c.what], c.want)
			equal(t, c.what+" differs from the default's", got[c.what] != plain[c.what], true)
		}
		for _, seconds := range []int{-1, 3} {
			o := &sock.Options{LingerSeconds: seconds}
			l, _ := listen(t, p, o)
			equal(t, "linger", inherited(t, p, o)["linger"], readLinger(t, l))
			equal(t, "linger differs from the default's", readLinger(t, l) != 0, true)
		}
	})
}

func TestNegativeKeepAliveTimesAreTheSystems(t *testing.T) {
	onTCP(t, func(t *testing.T, p place) {
		l, _ := listen(t, p, nil)
		fresh := tcpOptions(t, closeLater(t, connect(t, p.network, l)))
		got := inherited(t, p, &sock.Options{KeepAlive: net.KeepAliveConfig{Idle: -1, Interval: -1, Count: -1}})
		equal(t, "keep-alive", got["keep-alive"], 1)
		for _, what := range []string{"idle", "interval", "count"} {
			equal(t, what, got[what], fresh[what])
		}
	})
}

func TestAConnectionThatDoesNotLingerIsResetByClose(t *testing.T) {
	onTCP(t, func(t *testing.T, p place) {
		l, _ := listen(t, p, &sock.Options{LingerSeconds: -1})
		client := closeLater(t, connect(t, p.network, l))
		server, _ := accept(t, l)
		testkit.Must(t, kernel.Close(server))
		wait(t, client, unix.POLLIN)
		_, err := kernel.Read(client, make([]byte, 1))
		equal(t, "error", err, error(unix.ECONNRESET))
	})
}

func TestDeferAcceptWaitsForBytes(t *testing.T) {
	onTCP(t, func(t *testing.T, p place) {
		l, _ := listen(t, p, &sock.Options{DeferAccept: 20 * time.Second})
		client := closeLater(t, connect(t, p.network, l))
		wait(t, client, unix.POLLOUT)
		_, _, err := kernel.Accept(l)
		equal(t, "before bytes", err, error(unix.EAGAIN))
		_, err = kernel.Write(client, []byte("x"))
		testkit.Must(t, err)
		server, _ := accept(t, l)
		closeLater(t, server)
		n, err := kernel.Read(server, make([]byte, 2))
		testkit.Must(t, err)
		equal(t, "read at once", n, 1)
	})
}

func TestFastOpenHasAQueue(t *testing.T) {
	onTCP(t, func(t *testing.T, p place) {
		l, _ := listen(t, p, &sock.Options{FastOpen: 17})
		equal(t, "TCP_FASTOPEN", option(t, l, unix.IPPROTO_TCP, unix.TCP_FASTOPEN), 17)
	})
}

func TestADeviceBindsAListener(t *testing.T) {
	p := place{network: "tcp4", address: "127.0.0.1:0"}
	l, _ := listen(t, p, &sock.Options{Device: "lo"})
	got, err := unix.GetsockoptString(l, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
	testkit.Must(t, err)
	equal(t, "device", got, "lo")
	_, _, _, err = sock.Listen(context.Background(), nil, p.network, p.address, &sock.Options{Device: "no-such"})
	if err == nil || !strings.Contains(err.Error(), "Device to no-such") {
		t.Errorf("an unknown device: %v", err)
	}
}

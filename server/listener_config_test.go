package server_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// listenWith opens a listener of a server with options.
func listenWith(t *testing.T, s *running, o server.ListenerConfig) *server.Listener {
	t.Helper()
	ln, err := s.Listen(t.Context(), "tcp", "127.0.0.1:0", &o)
	testkit.Must(t, err)
	return ln
}

// Listeners of one server may speak TLS or not, with or without a PROXY header, and have handlers of their own.
func TestEachListenerBeginsAsItsConfigSays(t *testing.T) {
	for _, secure := range []bool{false, true} {
		r := rig{"tcp", secure, 2}
		s := start(t, r, &server.Server{Handler: calls{data: echo}})
		own := calls{data: func(c *server.Conn, p []byte) (int, error) {
			_, err := c.WriteString("own: " + string(p))
			return len(p), err
		}}
		plain := listenWith(t, s, server.ListenerConfig{Plain: true, Handler: own})
		encrypted := listenWith(t, s, server.ListenerConfig{TLS: serverTLS()})
		proxied := listenWith(t, s, server.ListenerConfig{Plain: true, ProxyProtocol: true})

		nc := (&running{s.Server, rig{"tcp", false, 2}, plain.Addr()}).dial(t)
		send(t, nc, "hello")
		expect(t, nc, "own: hello")

		nc = (&running{s.Server, rig{"tcp", true, 2}, encrypted.Addr()}).dial(t)
		send(t, nc, "hello")
		expect(t, nc, "hello")

		nc = (&running{s.Server, rig{"tcp", false, 2}, proxied.Addr()}).dial(t)
		send(t, nc, "PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\nhello")
		expect(t, nc, "hello")
	}
}

// With NoProxyProtocol its connections need no header, although the server requires one.
func TestAListenerMayDoWithoutThePROXYHeader(t *testing.T) {
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{data: echo}, ProxyProtocol: true})
	ln := listenWith(t, s, server.ListenerConfig{NoProxyProtocol: true})
	nc := (&running{s.Server, rig{"tcp", false, 1}, ln.Addr()}).dial(t)
	send(t, nc, "hello")
	expect(t, nc, "hello")
}

// A listener that AddListener adds can have the same configuration as one of Listen.
func TestAListenerThatIsAddedHasAConfig(t *testing.T) {
	s := start(t, rig{"tcp", true, 1}, &server.Server{Handler: calls{data: echo}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	ln, err := s.AddListener(l, &server.ListenerConfig{Plain: true})
	testkit.Must(t, err)
	nc := (&running{s.Server, rig{"tcp", false, 1}, ln.Addr()}).dial(t)
	send(t, nc, "hello")
	expect(t, nc, "hello")
}

// Options that contradict each other are ErrInvalid, and the error names them.
func TestAListenerConfigIsChecked(t *testing.T) {
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{data: echo}})
	for field, o := range map[string]server.ListenerConfig{
		"Plain":           {TLS: serverTLS(), Plain: true},
		"NoProxyProtocol": {ProxyProtocol: true, NoProxyProtocol: true},
		"Mode":            {Mode: 0o600},
	} {
		_, err := s.Listen(t.Context(), "tcp", "127.0.0.1:0", &o)
		if !errors.Is(err, server.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("with %+v Listen returns %v", o, err)
		}
	}
	_, err := s.Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "s"), &server.ListenerConfig{Mode: fs.ModeDir | 0o700})
	testkit.CheckErr(t, "a mode with more than permissions", err, server.ErrInvalid)
}

// A context that has ended ends the look-up of a name.
func TestListenEndsWithItsContext(t *testing.T) {
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{data: echo}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Listen(ctx, "tcp", "localhost:0", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Listen returns %v", err)
	}
}

// umask serializes the tests that change the process's umask.
var umask sync.Mutex

// The file of a unix socket has the permissions that Mode says, whatever the umask is, and when it is bound no others.
func TestModeIsThatOfTheSocketsFile(t *testing.T) {
	umask.Lock()
	defer umask.Unlock()
	for _, mask := range []int{0, 0o077, 0o777} {
		for _, mode := range []fs.FileMode{0o600, 0o660, 0o777} {
			path := filepath.Join(t.TempDir(), "s")
			controls := 0
			srv := &server.Server{Handler: calls{data: echo}}
			srv.ListenConfig.Control = func(string, string, syscall.RawConn) error {
				controls++
				return nil
			}
			s := start(t, rig{"tcp", false, 1}, srv)
			controls = 0
			seen := permissions(path)
			old := syscall.Umask(mask)
			ln, err := s.Listen(t.Context(), "unix", path, &server.ListenerConfig{Mode: mode})
			syscall.Umask(old)
			testkit.Must(t, err)
			info, err := os.Stat(path)
			testkit.Must(t, err)
			if got := info.Mode().Perm(); got != mode {
				t.Errorf("with umask %o and Mode %o the file has %o", mask, mode, got)
			}
			if ever := seen(); runtime.GOOS == "linux" && ever&^mode != 0 {
				t.Errorf("with umask %o and Mode %o the file had %o for a time", mask, mode, ever)
			}
			if controls != 1 {
				t.Errorf("ListenConfig.Control was called %d times", controls)
			}
			testkit.Must(t, ln.Close())
			s.shutdown(t)
		}
	}
}

// permissions watches the file of a path. The function returned ends the watching and returns all permissions that were seen.
func permissions(path string) func() fs.FileMode {
	stop, seen := make(chan struct{}), make(chan fs.FileMode)
	go func() {
		var ever fs.FileMode
		for {
			if info, err := os.Stat(path); err == nil {
				ever |= info.Mode().Perm()
			}
			select {
			case <-stop:
				seen <- ever
				return
			default:
			}
		}
	}()
	return func() fs.FileMode {
		close(stop)
		return <-seen
	}
}

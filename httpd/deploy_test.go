package httpd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
)

// deployChild is set in the processes that TestNoRequestFailsDuringADeploy starts.
const deployChild = "EVMQ_HTTPD_DEPLOY"

// TestDeployServer is the server of TestNoRequestFailsDuringADeploy: it serves the listener that it inherits, and shuts down when its
// standard input ends.
func TestDeployServer(t *testing.T) {
	if os.Getenv(deployChild) == "" {
		t.Skip("it is the server of another test")
	}
	f := os.NewFile(3, "listener")
	l, err := net.FileListener(f)
	testkit.Must(t, err)
	testkit.Must(t, f.Close())
	s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getpid()) })}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	ready := os.NewFile(4, "ready")
	testkit.Must(t, ready.Close())
	_, _ = io.Copy(io.Discard, os.Stdin) // until its end
	ctx, cancel := testkit.Soon()
	defer cancel()
	testkit.Must(t, s.Shutdown(ctx))
	testkit.WantErr(t, testkit.Await(t, served, "the end of Serve"), http.ErrServerClosed)
}

// A deployed is a server process.
type deployed struct {
	*exec.Cmd
	stdin io.Closer
}

// deploy starts a server process for the listener, and waits until it serves.
func deploy(t *testing.T, l *net.TCPListener) deployed {
	t.Helper()
	f, err := l.File()
	testkit.Must(t, err)
	ready, signal, err := os.Pipe()
	testkit.Must(t, err)
	cmd := exec.Command(os.Args[0], "-test.run=^TestDeployServer$", "-test.timeout=10m") //nolint:gosec // it is this test
	cmd.Env = append(os.Environ(), deployChild+"=1")
	cmd.ExtraFiles = []*os.File{f, signal}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	stdin, err := cmd.StdinPipe()
	testkit.Must(t, err)
	testkit.Must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended
	_ = f.Close()                                // the process has it
	_ = signal.Close()                           // as above
	_, _ = io.Copy(io.Discard, ready)            // until the process has closed it
	_ = ready.Close()                            // it was read
	return deployed{cmd, stdin}
}

// stop shuts the server down, and waits for the end of its process.
func (d deployed) stop(t *testing.T) {
	t.Helper()
	_ = d.stdin.Close() // the signal
	if err := d.Wait(); err != nil {
		t.Errorf("the server: %v", err)
	}
}

// A keptClient keeps a connection, and sends a request again if the connection ends before the response begins, as RFC 9110, section 9.2.2, has
// it.
type keptClient struct {
	mu      sync.Mutex // held during a request
	addr    string
	nc      net.Conn
	r       *bufio.Reader
	retries int
}

// get makes a request, and returns the response.
func (c *keptClient) get() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range 10 {
		if c.nc == nil {
			nc, err := net.Dial("tcp", c.addr)
			if err != nil {
				return "", err
			}
			c.nc, c.r = nc, bufio.NewReaderSize(nc, 256)
		}
		body, begun, err := c.try()
		if err == nil {
			return body, nil
		}
		c.close()
		if begun {
			return "", fmt.Errorf("after the beginning of the response: %w", err)
		}
		c.retries++
	}
	return "", errors.New("10 connections have ended without a response")
}

// try makes a request on the connection. begun reports whether a part of a response has arrived.
func (c *keptClient) try() (body string, begun bool, err error) {
	if err := c.nc.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		return "", false, err
	}
	if _, err := io.WriteString(c.nc, get("/")); err != nil {
		return "", false, err
	}
	if _, err := c.r.Peek(1); err != nil {
		return "", false, err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return "", true, err
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close() // it was read
	if err == nil && resp.Close {
		c.close()
	}
	return string(text), true, err
}

// close ends the connection.
func (c *keptClient) close() {
	_ = c.nc.Close() // it has ended
	c.nc = nil
}

// busy is the number of goroutines that send requests at the same time.
const busy = 20

// ask makes a request that must not fail.
func (c *keptClient) ask(t *testing.T) (pid string) {
	t.Helper()
	pid, err := c.get()
	if err != nil {
		t.Errorf("a request has failed: %v", err)
	}
	return pid
}

// askAll makes a request with each client, which d has to serve.
func askAll(t *testing.T, clients []*keptClient, d deployed) {
	t.Helper()
	want := fmt.Sprint(d.Process.Pid)
	var group sync.WaitGroup
	for start := range busy {
		group.Go(func() {
			for i := start; i < len(clients); i += busy {
				if pid := clients[i].ask(t); pid != want {
					t.Errorf("the response is of the process %s, not of %s", pid, want)
				}
			}
		})
	}
	group.Wait()
}

// A new process takes over the listener, and the old one shuts down, while thousands of idle clients are connected and some send requests.
func TestNoRequestFailsDuringADeploy(t *testing.T) {
	n := 300
	if testkit.Full() {
		n = 15000
	}
	l := listen(t).(*net.TCPListener)
	defer func() { _ = l.Close() }() // the servers have it
	first := deploy(t, l)
	clients := make([]*keptClient, n)
	for i := range clients {
		clients[i] = &keptClient{addr: l.Addr().String()}
	}
	defer func() {
		for _, c := range clients {
			if c.nc != nil {
				c.close()
			}
		}
	}()
	askAll(t, clients, first)
	var stop atomic.Bool
	var group sync.WaitGroup
	var during atomic.Int64
	for start := range busy {
		group.Go(func() {
			for i := start; !stop.Load(); i = (i + 7*busy) % n {
				clients[i].ask(t)
				during.Add(1)
			}
		})
	}
	second := deploy(t, l)
	first.stop(t)
	stop.Store(true)
	group.Wait()
	askAll(t, clients, second)
	retries := 0
	for _, c := range clients {
		retries += c.retries
	}
	t.Logf("%d clients; %d requests during the deploy; %d were sent again", n, during.Load(), retries)
	second.stop(t)
}

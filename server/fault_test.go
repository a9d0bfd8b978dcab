package server_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/sock/socktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// letters returns n bytes in lines, the same for the same seed.
func letters(seed byte, n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(p) // never fails
	for i := range p {
		if p[i] = 'a' + p[i]%26; i%61 == 60 {
			p[i] = '\n'
		}
	}
	p[n-1] = '\n'
	return p
}

// exchange sends data, closes its half, and returns the answer.
func exchange(nc net.Conn, data []byte) ([]byte, error) {
	go func() {
		_, _ = nc.Write(data) // a failure shows in the answer
		_ = nc.(halfCloser).CloseWrite()
	}()
	return io.ReadAll(nc)
}

var faultyHandlers = map[string]func() server.Handler{
	"loop":       func() server.Handler { return calls{data: echo} },
	"workers":    func() server.Handler { return echoLines() },
	"concurrent": func() server.Handler { d := echoLines(); d.Concurrent = 4; return d },
}

// System calls are interrupted, incomplete or have to be repeated, and the clients of some accepts have disconnected.
func TestTemporaryFaultsLoseNothing(t *testing.T) {
	rates := socktest.Rates{Again: 0.1, Interrupted: 0.1, Short: 0.3, Aborted: 0.1}
	for name, handler := range faultyHandlers {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				for seed := range uint64(3) {
					faulty := socktest.Random(seed, &sock.Kernel{}, rates)
					srv := &server.Server{Handler: handler()}
					srv.SetCalls(faulty)
					s := start(t, r, srv)
					var all sync.WaitGroup
					for i := range 6 {
						nc := s.dial(t)
						all.Go(func() {
							defer nc.Close()
							data := letters(byte(i), 3000)
							got, err := exchange(nc, data)
							if err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
								t.Errorf("seed %d: %d of %d bytes came back, %v", seed, len(got), len(data), err)
							}
						})
					}
					all.Wait()
					s.shutdown(t)
					if st := s.Stats(); st.Opened != st.Closed || st.Opened == 0 || st.BufferedBytes != 0 || st.OpenConns != 0 {
						t.Errorf("seed %d: %+v", seed, st)
					}
					if faulty.Injected() == 0 {
						t.Error("nothing failed")
					}
				}
			})
		})
	}
}

// Calls fail at random with resets and broken pipes. The answer is a beginning of the data, every connection has its Close, and the server
// counts no memory afterwards.
func TestFaultsThatEndAConnectionEndItAlone(t *testing.T) {
	rates := socktest.Rates{Again: 0.05, Interrupted: 0.05, Short: 0.2, Reset: 0.01, Pipe: 0.01}
	for name, handler := range faultyHandlers {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				for seed := range uint64(4) {
					srv := &server.Server{Handler: handler()}
					faulty := socktest.Random(100+seed, &sock.Kernel{}, rates)
					srv.SetCalls(faulty)
					s := start(t, r, srv)
					var all sync.WaitGroup
					for i := range 10 {
						nc := s.dial(t)
						all.Go(func() {
							defer nc.Close()
							data := letters(byte(i), 3000)
							if got, _ := exchange(nc, data); !bytes.HasPrefix(data, got) {
								t.Errorf("seed %d: %d bytes came back that are not the beginning of what was sent", seed, len(got))
							}
						})
					}
					all.Wait()
					s.shutdown(t)
					if st := s.Stats(); st.Opened != st.Closed || st.BufferedBytes != 0 || st.OpenConns != 0 || st.RunningRequests+st.QueuedRequests != 0 {
						t.Errorf("seed %d: %+v", seed, st)
					}
					if faulty.Injected() == 0 {
						t.Error("nothing failed")
					}
				}
			})
		})
	}
}

// The writes are bytes and files, and the kernel returns all its errors.
func TestEachWriteUnderFaultsHasOneOutcome(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "f")
	testkit.Must(t, err)
	defer file.Close()
	_, err = file.Write(letters(9, 5000))
	testkit.Must(t, err)
	each(t, func(t *testing.T, r rig) {
		for seed := range uint64(6) {
			var mu sync.Mutex
			accepted, outcomes := 0, map[int]int{}
			h := calls{open: func(c *server.Conn) {
				for range 20 {
					mu.Lock()
					n := accepted
					accepted++
					mu.Unlock()
					done := func(error) {
						mu.Lock()
						outcomes[n]++
						mu.Unlock()
					}
					var err error
					switch n % 3 {
					case 0:
						err = c.WriteNotify(letters(1, 1000), done)
					case 1:
						err = c.WriteOwned(letters(2, 1000), done)
					case 2:
						err = c.SendFile(file, 0, 5000, done)
					}
					if err != nil {
						t.Error(err)
					}
				}
				c.Close()
			}}
			srv := &server.Server{Handler: h}
			srv.SetCalls(socktest.Random(200+seed, &sock.Kernel{}, socktest.Rates{Again: 0.1, Interrupted: 0.1, Short: 0.2, Reset: 0.002, Pipe: 0.002}))
			s := start(t, r, srv)
			for range 4 {
				nc := s.dial(t)
				_, _ = exchange(nc, nil)
				hangUp(nc)
			}
			s.shutdown(t)
			for n := range accepted {
				if outcomes[n] != 1 {
					t.Errorf("seed %d: write %d has %d outcomes", seed, n, outcomes[n])
				}
			}
			if st := s.Stats(); st.BufferedBytes != 0 || st.Opened != st.Closed {
				t.Errorf("seed %d: %+v", seed, st)
			}
		}
	})
}

// An accept that continues to fail costs few turns, and succeeds when there are descriptors again.
func TestAcceptPausesWhileItFailsForDescriptors(t *testing.T) {
	t.Parallel()
	for _, errno := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM} {
		t.Run(fmt.Sprint(int(errno)), func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				var mu sync.Mutex
				short, failed := true, 0
				srv := &server.Server{Handler: echoLines()}
				srv.SetCalls(socktest.New(&sock.Kernel{}, func(c socktest.Call) socktest.Fault {
					mu.Lock()
					defer mu.Unlock()
					if c.Name == socktest.Accept && short {
						failed++
						return socktest.Fault{Err: errno}
					}
					return socktest.Fault{}
				}))
				s := start(t, r, srv)
				nc := s.dialPlain(t)
				testkit.Until(t, "three pauses", func() bool { return s.Stats().Pauses >= 3 })
				mu.Lock()
				short = false
				n, pauses := failed, s.Stats().Pauses
				mu.Unlock()
				if n > int(2*pauses+2) { // one of the listener's, one of the reserve's
					t.Errorf("accept failed %d times in %d pauses", n, pauses)
				}
				hangUp(nc)
				testkit.Must(t, pipelined(s.dial(t), "after", 1))
			})
		})
	}
}

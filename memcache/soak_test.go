package memcache_test

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
)

// TestSoak runs clients that set, get, delete and list values of every size in a cache that is too small for them. Some are slow, and some reset their
// connections. A client gets the value that it has stored last, or none. EVMQ_SOAK is the duration, 2s by default; EVMQ_SEED repeats the choices of
// another run.
func TestSoak(t *testing.T) {
	lasts := 600 * time.Millisecond
	if testkit.Full() {
		lasts = 4 * time.Second
	}
	if v := os.Getenv("EVMQ_SOAK"); v != "" {
		var err error
		lasts, err = time.ParseDuration(v)
		testkit.Must(t, err)
	}
	seed := rand.Uint64()
	if v := os.Getenv("EVMQ_SEED"); v != "" {
		var err error
		seed, err = strconv.ParseUint(v, 10, 64)
		testkit.Must(t, err)
	}
	t.Logf("EVMQ_SEED=%d", seed)
	r := start(t, memcache.Config{Memory: 24 << 20, PerTurn: 5})
	end := time.Now().Add(lasts)
	var clients sync.WaitGroup
	for id := range 24 {
		clients.Go(func() {
			s := &soaker{r: r, rng: rand.New(rand.NewPCG(seed, uint64(id))), id: id, has: map[string]string{}}
			for time.Now().Before(end) {
				if err := s.connection(); err != nil {
					t.Errorf("client %d: %v", id, err)
					return
				}
			}
		})
	}
	clients.Wait()
	testkit.Until(t, "the end of all connections", func() bool { return r.srv.Stats().OpenConns == 0 && r.srv.Stats().BufferedBytes == 0 })
	c := r.connect(t)
	c.ask("flush_all", "OK")
	if st := r.Store().Stats(); st.Items != 0 || st.Memory > st.Limit {
		t.Errorf("%+v", st)
	}
}

// soaker is one client. No other client uses its keys.
type soaker struct {
	r   *running
	rng *rand.Rand
	id  int
	has map[string]string // what was stored last under each key; a missing one was deleted
	nc  *net.TCPConn
	in  *bufio.Reader
}

// errGivenUp is the error of a connection that the client resets.
var errGivenUp = errors.New("given up")

// connection sends some requests on a new connection.
func (s *soaker) connection() error {
	nc, err := net.Dial("tcp", s.r.addr)
	if err != nil {
		return err
	}
	s.nc, s.in = nc.(*net.TCPConn), bufio.NewReader(nc)
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(testTimeout)); err != nil {
		return err
	}
	for range 1 + s.rng.IntN(30) {
		err := s.request()
		if errors.Is(err, errGivenUp) {
			return s.nc.SetLinger(0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *soaker) key() string { return fmt.Sprintf("c%d-%d", s.id, s.rng.IntN(20)) }

// body returns a value from which a reader can see whether it is complete.
func (s *soaker) body() string {
	n := s.rng.IntN(100)
	switch s.rng.IntN(10) {
	case 0:
		n = s.rng.IntN(300_000)
	case 1, 2, 3:
		n = s.rng.IntN(20_000)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + s.rng.IntN(26))
	}
	return fmt.Sprintf("%s%08x", b, crc32.ChecksumIEEE(b))
}

func (s *soaker) request() error {
	key := s.key()
	switch s.rng.IntN(12) {
	case 0, 1, 2, 3:
		return s.set(key)
	case 4:
		known := s.has[key] != ""
		delete(s.has, key)
		return s.answer(fmt.Sprintf("delete %s\r\n", key), func(line string) bool { return line == "NOT_FOUND" || known && line == "DELETED" })
	case 5: // a request that does not end, and its client does
		if _, err := fmt.Fprintf(s.nc, "set %s-cut 0 0 200000\r\n%s", key, strings.Repeat("x", s.rng.IntN(199_000))); err != nil {
			return err
		}
		return errGivenUp
	case 6: // answers that are not read
		if _, err := io.WriteString(s.nc, strings.Repeat("get "+key+"\r\n", 50)); err != nil {
			return err
		}
		return errGivenUp
	}
	var keys []string
	for range 1 + s.rng.IntN(30) {
		keys = append(keys, s.key())
	}
	return s.get(keys)
}

// answer sends a request and reads one line.
func (s *soaker) answer(request string, ok func(line string) bool) error {
	if _, err := io.WriteString(s.nc, request); err != nil {
		return err
	}
	line, err := s.in.ReadString('\n')
	if err != nil {
		return err
	}
	if !ok(strings.TrimSuffix(line, "\r\n")) {
		return fmt.Errorf("%.40q was answered with %q", request, line)
	}
	return nil
}

func (s *soaker) set(key string) error {
	body := s.body()
	s.has[key] = body
	return s.answer(fmt.Sprintf("set %s 0 0 %d\r\n%s\r\n", key, len(body), body), func(line string) bool { return line == "STORED" })
}

// get requests keys and reads the answer, sometimes slowly.
func (s *soaker) get(keys []string) error {
	if _, err := fmt.Fprintf(s.nc, "get %s\r\n", strings.Join(keys, " ")); err != nil {
		return err
	}
	slow := s.rng.IntN(10) == 0
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return err
		}
		if line == "END\r\n" {
			return nil
		}
		var key string
		var flags, size int
		if _, err := fmt.Sscanf(line, "VALUE %s %d %d\r\n", &key, &flags, &size); err != nil {
			return fmt.Errorf("the line is %q: %w", line, err)
		}
		body := make([]byte, size+2)
		if _, err := io.ReadFull(s.in, body); err != nil {
			return err
		}
		if want := s.has[key]; string(body) != want+"\r\n" {
			return fmt.Errorf("%s has %d bytes, %.20q; stored were %d, %.20q", key, size, body, len(want), want)
		}
		if slow {
			time.Sleep(time.Millisecond)
		}
	}
}

package memcache_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
)

const (
	unauthenticated = "CLIENT_ERROR unauthenticated"
	badFormat       = "CLIENT_ERROR bad authentication token format"
	badEnd          = "CLIENT_ERROR bad command line termination"
	wrong           = "CLIENT_ERROR authentication failure"
)

// logins are the input of clients before they have authenticated, and the answers. Each input ends with a valid login and a get.
var logins = []struct{ input, answers string }{
	{"set a 0 0 5\r\nhello\r\n", badFormat},
	{"set a 0 0 0\r\n\r\n", badFormat},
	{"set a 0 0 4\r\nann \r\n", badFormat},
	{"set a 0 0 8\r\nann\x00word\r\n", badFormat},
	{"set a 0 0 8\r\nann word\r\n", wrong},
	{"set a 0 0 8 noreply\r\nann word\r\n", wrong},
	{"set a 0 0 5\r\nhello world\r\n", badEnd + "|" + unauthenticated},
	{"set a 0 0 5\r\nhello\n\n", badEnd},
	{"set a 0 0 -1\r\nann secret\r\n", unauthenticated + "|" + unauthenticated},
	{"set a 0 0 x\r\n", unauthenticated},
	{"set a 0 0 4294967295\r\n", unauthenticated},
	{"set a 0 0\r\n", unauthenticated},
	{"add a 0 0 10\r\nann secret\r\n", unauthenticated + "|" + unauthenticated},
	{"get a\r\nversion\r\nwatch\r\nstats\r\nquit\r\nmg a v\r\n", strings.Repeat(unauthenticated+"|", 5) + unauthenticated},
	{"set a 0 0 2000\r\n" + strings.Repeat("x", 2000) + "\r\n", badFormat},
	{"set a 0 0 100000\r\n" + strings.Repeat("set b 0 0 10\r\nann secret\r\n", 4000)[:100000] + "\r\n", wrong},
	{"set a 0 0 3004\r\nann " + strings.Repeat("p", 3000) + "\r\n", wrong},
	{"set a 0 0 5000\r\n" + strings.Repeat(" ", 4990) + "ann secret\r\n", "STORED"},
	{"set a 0 0 5000\r\nann secret" + strings.Repeat(" ", 4990) + "\r\n", "STORED"},
	{"set a 0 0 16\r\nann secret more \r\n", "STORED"},
	{"set a b c 10 d e\r\nann secret\r\n", "STORED"},
	{"set a 0 0 10\nann secret\r\n", "STORED"},
}

// TestTheValueOfARefusedLoginIsDiscarded, with any length, so that no part of it is executed as a command. It is answered once, when all of it has
// arrived, whether it arrives at once, followed by commands, or in pieces.
func TestTheValueOfARefusedLoginIsDiscarded(t *testing.T) {
	users, err := memcache.LoadUsers(usersFile(t, "ann:secret\n"))
	testkit.Must(t, err)
	r := start(t, memcache.Config{Users: users})
	for _, l := range logins {
		for _, piece := range []int{1 << 20, 7, 1} {
			if piece == 1 && len(l.input) > 1000 {
				continue
			}
			c := r.connect(t)
			input := l.input
			if l.answers != "STORED" {
				input += "set z 0 0 10\r\nann secret\r\n"
			}
			input += "get z\r\n"
			go func() { // the server may stop reading until it can answer
				for len(input) > 0 {
					n := min(piece, len(input))
					if _, err := io.WriteString(c, input[:n]); err != nil {
						return
					}
					input = input[n:]
				}
			}()
			if l.answers != "STORED" {
				c.expect(strings.Split(l.answers, "|")...)
			}
			c.expect("STORED", "END")
			testkit.Must(t, c.Close())
		}
	}
}

// TestALoginKeepsOnlyItsTwoWords: the longest possible value, from many clients at once, takes no memory.
func TestALoginKeepsOnlyItsTwoWords(t *testing.T) {
	users, err := memcache.LoadUsers(usersFile(t, "ann:secret\n"))
	testkit.Must(t, err)
	r := start(t, memcache.Config{Users: users})
	before := int64(heap())
	const clients, each = 20, 4 << 20
	part := strings.Repeat("x", 64<<10)
	all := make([]*client, clients)
	for i := range all {
		all[i] = r.connect(t)
		all[i].send("set a 0 0 2147483645")
		for range each / len(part) {
			_, err := io.WriteString(all[i], part)
			testkit.Must(t, err)
		}
	}
	testkit.Until(t, "the whole input", func() bool { // all has been read
		var n uint64
		for conn := range r.srv.Conns() {
			n += conn.Stats().BytesRead
		}
		return n >= clients*each
	})
	if grown := int64(heap()) - before; grown > clients*each/8 {
		t.Errorf("the heap has grown by %d bytes, for %d that have come", grown, clients*each)
	}
	for _, c := range all {
		testkit.Must(t, c.SetReadDeadline(time.Now().Add(time.Millisecond)))
		if n, err := c.Read(make([]byte, 1)); n > 0 || !isTimeout(err) {
			t.Fatalf("there is an answer before the value is there: %v", err)
		}
	}
}

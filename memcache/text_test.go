package memcache_test

import (
	"strings"
	"testing"

	"github.com/evmq/evmq/memcache"
)

// answers are requests of the text protocol and the answers of memcached 1.6, with lines separated by |, in order on one connection. Package difftest
// compares many more with a running memcached.
var answers = []struct{ request, answer string }{
	{"get a", "END"},
	{"set a 7 0 1|x", "STORED"},
	{"get a", "VALUE a 7 1|x|END"},
	{" get  a  b a ", "VALUE a 7 1|x|VALUE a 7 1|x|END"},
	{"set a 4294967296 0 1|y", "STORED"},
	{"get a", "VALUE a 0 1|y|END"},
	{"set a 1 0 2 noreply|xy", ""},
	{"add a 0 0 1|z", "NOT_STORED"},
	{"replace absent 0 0 1|z", "NOT_STORED"},
	{"append absent 0 0 1|z", "NOT_STORED"},
	{"append a 9 0 1|z", "STORED"},
	{"prepend a 9 0 1|w", "STORED"},
	{"get a", "VALUE a 1 4|wxyz|END"},
	{"set empty 0 0 0|", "STORED"},
	{"get empty", "VALUE empty 0 0||END"},
	{"cas absent 0 0 1 5|x", "NOT_FOUND"},
	{"cas a 0 0 1 99999|x", "EXISTS"},
	{"delete a", "DELETED"},
	{"delete a", "NOT_FOUND"},
	{"delete a 0", "NOT_FOUND"},
	{"delete a 5", "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]"},
	{"delete a 0 noreply", ""},
	{"set n 0 0 2|10", "STORED"},
	{"decr n 1", "9"},
	{"get n", "VALUE n 0 2|9 |END"},
	{"decr n 100", "0"},
	{"incr n 18446744073709551615", "18446744073709551615"},
	{"incr n 2", "1"},
	{"get n", "VALUE n 0 20|1                   |END"},
	{"incr n -1", "CLIENT_ERROR invalid numeric delta argument"},
	{"incr n 18446744073709551616", "CLIENT_ERROR invalid numeric delta argument"},
	{"incr absent 1", "NOT_FOUND"},
	{"set long 0 0 100|5" + strings.Repeat(" ", 99), "STORED"},
	{"incr long 5", "10"},
	{"get long", "VALUE long 0 100|10" + strings.Repeat(" ", 98) + "|END"},
	{"incr empty 1", "CLIENT_ERROR cannot increment or decrement non-numeric value"},
	{"touch n 0", "TOUCHED"},
	{"touch absent 0", "NOT_FOUND"},
	{"touch n x", "CLIENT_ERROR invalid exptime argument"},
	{"gat 0 empty absent", "VALUE empty 0 0||END"},
	{"gat x empty", "CLIENT_ERROR invalid exptime argument"},
	{"set a 1 0 1|xyz", "CLIENT_ERROR bad data chunk|ERROR"},
	{"set a -1 0 1|x", "CLIENT_ERROR bad command line format|ERROR"},
	{"set a 1 0 -1", "CLIENT_ERROR bad command line format"},
	{"set a 1x 0 1", "CLIENT_ERROR bad command line format"},
	{"set a 0 0", "ERROR"},
	{"get", "ERROR"},
	{"get " + strings.Repeat("k", 250), "END"},
	{"get a " + strings.Repeat("k", 251), "CLIENT_ERROR bad command line format"},
	{"set " + strings.Repeat("k", 251) + " 0 0 1|x", "CLIENT_ERROR bad command line format|ERROR"},
	{"", "ERROR"},
	{"x", "ERROR"},
	{"GET a", "ERROR"},
	{"verbosity 1", "OK"},
	{"verbosity", "ERROR"},
	{"version", "VERSION " + memcache.Version},
	{"shutdown", "ERROR: shutdown not enabled"},
	{"stats nonsense", "ERROR"},
	{"flush_all", "OK"},
	{"flush_all x", "CLIENT_ERROR invalid exptime argument"},
	{"flush_all noreply", ""},
	{"flush_all 0 noreply", ""},
	{"get empty n", "END"},
	{"cache_memlimit 4", "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m"},
	{"cache_memlimit x", "ERROR"},
	{"cache_memlimit 64", "OK"},

	{"mn", "MN"},
	{"mx a", "ERROR"},
	{"mg", "ERROR"},
	{"mg a", "EN"},
	{"mg a q", ""},
	{"mg a k Oabc", "EN ka Oabc"},
	{"mg a v v", "CLIENT_ERROR duplicate flag"},
	{"mg a z", "CLIENT_ERROR invalid flag"},
	{"mg a O" + strings.Repeat("1", 32), "CLIENT_ERROR opaque token too long"},
	{"ms a", "CLIENT_ERROR bad command line format"},
	{"ms a S2", "CLIENT_ERROR bad command line format"},
	{"ms a 2 T0 F3|hi", "HD"},
	{"mg a s v t f k h l Oabc", "VA 2 s2 t-1 f3 ka h0 l0 Oabc|hi"},
	{"mg a h", "HD h1"},
	{"ms a 2 ME|yo", "NS"},
	{"ms a 2 MA|yo", "HD"},
	{"ms a 1 MP|-", "HD"},
	{"ms absent 1 MR|-", "NS"},
	{"mg a v f", "VA 5 f3|-hiyo"},
	{"ms a 2 MX|hi", "CLIENT_ERROR invalid mode for ms M token"},
	{"ms a 2 MEE|hi", "CLIENT_ERROR incorrect length for M token"},
	{"ms a 2 Fx|hi", "CLIENT_ERROR bad command line format"},
	{"ms a 2 Tx|hi", "CLIENT_ERROR bad token in command line format"},
	{"ms a 2 b|hi", "CLIENT_ERROR error decoding key"},
	{"ms a 1 C1|x", "EX"},
	{"ms absent 1 C1|x", "NF"},
	{"ms a 1 C0 I|x", "EX"},
	{"ms YWI= 2 b|hi", "HD"},
	{"mg ab v k", "VA 2 kYWI= b|hi"},
	{"mg YWI= b v k", "VA 2 kYWI= b|hi"},
	{"md ab q", ""},
	{"md ab", "NF"},
	{"md a C1", "EX"},
	{"md a k O1", "HD ka O1"},
	{"ma n", "NF"},
	{"ma n N0 J5 v", "VA 1|5"},
	{"ma n v", "VA 1|6"},
	{"ma n MD D4 v t", "VA 1 t-1|2"},
	{"ma n M- D4 v", "VA 1|0"},
	{"ma n Mi", "CLIENT_ERROR invalid mode for ma M token"},
	{"ma n D-1", "CLIENT_ERROR invalid or duplicate flag"},
	{"ma n q", ""},
	{"ma n C99999", "EX"},
	{"me", "CLIENT_ERROR bad command line format"},
	{"me absent", "EN"},
}

// TestTheTextProtocolAnswersAsMemcachedDoes sends each request and compares the answer.
func TestTheTextProtocolAnswersAsMemcachedDoes(t *testing.T) {
	c := start(t, memcache.Config{}).connect(t)
	for _, a := range answers {
		c.ask(a.request, a.answer)
	}
	c.send("quit")
	c.closed()
}

// script returns all requests and all answers.
func script() (requests, replies string) {
	var in, out strings.Builder
	for _, a := range answers {
		in.WriteString(strings.ReplaceAll(a.request, "|", "\r\n") + "\r\n")
		if a.answer != "" {
			out.WriteString(strings.ReplaceAll(a.answer, "|", "\r\n") + "\r\n")
		}
	}
	return in.String(), out.String()
}

// TestAnswersDoNotDependOnHowRequestsArrive: at once, and byte by byte.
func TestAnswersDoNotDependOnHowRequestsArrive(t *testing.T) {
	requests, replies := script()
	for _, piece := range []int{len(requests), 1, 7, 1460} {
		c := start(t, memcache.Config{}).connect(t)
		go func() {
			for rest := requests; rest != ""; {
				n := min(piece, len(rest))
				if _, err := c.Write([]byte(rest[:n])); err != nil {
					return
				}
				rest = rest[n:]
			}
		}()
		c.expect(strings.Split(strings.TrimSuffix(replies, "\r\n"), "\r\n")...)
	}
}

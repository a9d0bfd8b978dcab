package difftest_test

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache/difftest"
)

// notCompared are statistics whose values depend on the server and not on the requests of clients.
var notCompared = regexp.MustCompile(`^(pid|uptime|time|libevent|pointer_size|rusage_.*|curr_connections|total_connections|connection_structures|` +
	`response_obj_.*|read_buf_.*|reserved_fds|bytes|bytes_read|bytes_written|threads|conn_yields|hash_.*|lru_.*|log_.*|lrutail_reflocked|moves_.*|` +
	`crawler_.*|slab_global_page_pool|direct_reclaims)$`)

// binaryRequests are frames with each operation that is counted, on keys with and without items.
func binaryRequests() []byte {
	var out []byte
	add := func(op byte, key string, extras []byte, value string, cas uint64) {
		out = difftest.Frame{Magic: difftest.RequestMagic, Op: op, Key: []byte(key), Extras: extras, Value: []byte(value), CAS: cas}.Append(out)
	}
	number := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	arithmetic := func(expires uint32) []byte { // by 1, from 0
		return bytes.Join([][]byte{number(0), number(1), number(0), number(0), number(expires)}, nil)
	}
	const get, set, add1, replace, remove, increment, decrement, flush, appends, touch, getAndTouch = 0, 1, 2, 3, 4, 5, 6, 8, 0x0e, 0x1c, 0x1d
	flagsAndTime := make([]byte, 8)
	const absent = 1<<32 - 1         // the time that says that nothing is to be stored
	add(flush, "", number(0), "", 0) // first: memcached counts a flushed item as present until it finds it
	add(set, "k", flagsAndTime, "1", 0)
	add(get, "k", nil, "", 0)
	add(get, "missing", nil, "", 0)
	add(add1, "k", flagsAndTime, "1", 0)
	add(replace, "missing", flagsAndTime, "1", 0)
	add(increment, "k", arithmetic(0), "", 0)
	add(decrement, "k", arithmetic(0), "", 0)
	add(increment, "missing", arithmetic(absent), "", 0)
	add(decrement, "missing", arithmetic(absent), "", 0)
	add(remove, "k", nil, "", 0)
	add(remove, "k", nil, "", 0)
	add(set, "new", flagsAndTime, "1", 0)
	add(touch, "new", number(9), "", 0)
	add(getAndTouch, "new", number(9), "", 0)
	add(touch, "missing", number(9), "", 0)
	add(set, "new", flagsAndTime, "1", 999)
	add(appends, "new", nil, "x", 0)
	return out
}

// TestCountersCountWhatMemcachedCounts sends the same requests to both servers and compares all counters. Each string has a connection of its
// own: while an answer with its value is pending, memcached replaces an item that is incremented, and counts it again.
func TestCountersCountWhatMemcachedCounts(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 2_000_000)
	for name, requests := range map[string][]string{
		"text": {counted + "append a 0 0 1\r\n2\r\nprepend a 0 0 1\r\n3\r\nreplace missing 0 0 1\r\nx\r\nset large 0 0 2000000\r\n" + large +
			"\r\nverbosity 0\r\nnonsense\r\ngets a b missing\r\ngat 100 a missing\r\n"},
		"meta": {"ms a 1\r\n1\r\nmg a v\r\nmg missing v\r\n", "ma a\r\nma a MD\r\nmd a\r\nmd a\r\nms a 1 ME\r\nx\r\nms a 1 ME\r\nx\r\nms a 1 MA\r\nx\r\n" +
			"ms a 1 C1000000001\r\nx\r\nmg a k q\r\nmd a I T10\r\nmg a v\r\nmn\r\n", "me a\r\nme missing\r\n"},
		"binary":     {string(binaryRequests())},
		"statistics": {"stats reset\r\nset a 0 0 1\r\nx\r\nget a\r\nstats\r\nstats items\r\nversion\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all [2]map[string]string
			for i, d := range []*daemon{startMemcached(t), startEvcached(t, "-o", "no_lru_maintainer")} {
				for _, r := range requests {
					_, err := difftest.Stream(d.addr, []byte(r), len(r))
					testkit.Must(t, err)
				}
				all[i], _ = statistics(t, d, "stats")
			}
			for name, want := range all[0] {
				if got := all[1][name]; got != want && !notCompared.MatchString(name) {
					t.Errorf("%s is %s; memcached's is %s", name, got, want)
				}
			}
		})
	}
}

package difftest_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	text "github.com/bradfitz/gomemcache/memcache"
	"github.com/couchbase/gomemcached"
	binary "github.com/couchbase/gomemcached/client"
)

// eachServer runs a test with memcached, to show that the test is correct, and with evcached.
func eachServer(t *testing.T, test func(t *testing.T, d *daemon)) {
	t.Helper()
	t.Run("memcached", func(t *testing.T) { test(t, startMemcached(t)) })
	t.Run("evcached", func(t *testing.T) { test(t, startEvcached(t)) })
}

// want fails the test unless the error is the expected one.
func want(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// equal fails the test unless the value is the expected one.
func equal[T comparable](t testing.TB, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// TestGomemcache makes the usual calls of the most widely used client of the text protocol.
func TestGomemcache(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, d *daemon) {
		c := text.New(d.addr)
		defer c.Close()
		must(t, c.Ping())
		value := func(key string) string {
			t.Helper()
			it, err := c.Get(key)
			must(t, err)
			return string(it.Value)
		}

		_, err := c.Get("k")
		want(t, err, text.ErrCacheMiss)
		must(t, c.Set(&text.Item{Key: "k", Value: []byte("one"), Flags: 123}))
		it, err := c.Get("k")
		must(t, err)
		equal(t, string(it.Value), "one")
		equal(t, it.Flags, 123)
		want(t, c.Set(&text.Item{Key: "with space", Value: nil}), text.ErrMalformedKey)
		want(t, c.Set(&text.Item{Key: strings.Repeat("k", 251)}), text.ErrMalformedKey)

		want(t, c.Add(&text.Item{Key: "k", Value: []byte("two")}), text.ErrNotStored)
		must(t, c.Add(&text.Item{Key: "n", Value: []byte("10")}))
		want(t, c.Replace(&text.Item{Key: "missing", Value: []byte("x")}), text.ErrNotStored)
		must(t, c.Replace(&text.Item{Key: "k", Value: []byte("two")}))
		must(t, c.Append(&text.Item{Key: "k", Value: []byte("!")}))
		must(t, c.Prepend(&text.Item{Key: "k", Value: []byte("<")}))
		equal(t, value("k"), "<two!")
		want(t, c.Append(&text.Item{Key: "missing", Value: []byte("x")}), text.ErrNotStored)

		n, err := c.Increment("n", 5)
		must(t, err)
		equal(t, n, 15)
		n, err = c.Decrement("n", 100)
		must(t, err)
		equal(t, n, 0)
		_, err = c.Increment("missing", 1)
		want(t, err, text.ErrCacheMiss)
		_, err = c.Increment("k", 1)
		if err == nil || !strings.Contains(err.Error(), "client error") {
			t.Fatalf("incr of a word: %v", err)
		}

		it, err = c.Get("k")
		must(t, err)
		must(t, c.Set(&text.Item{Key: "k", Value: []byte("meanwhile")}))
		it.Value = []byte("late")
		want(t, c.CompareAndSwap(it), text.ErrCASConflict)
		it, err = c.Get("k")
		must(t, err)
		it.Value = []byte("in time")
		must(t, c.CompareAndSwap(it))
		must(t, c.Delete("k"))
		want(t, c.CompareAndSwap(it), text.ErrCacheMiss)
		want(t, c.Delete("k"), text.ErrCacheMiss)

		must(t, c.Set(&text.Item{Key: "k", Value: []byte("x")}))
		must(t, c.Touch("k", 100))
		want(t, c.Touch("missing", 100), text.ErrCacheMiss)
		it, err = c.GetAndTouch("k", 100)
		must(t, err)
		equal(t, string(it.Value), "x")
		must(t, c.Touch("k", -1))
		_, err = c.Get("k")
		want(t, err, text.ErrCacheMiss)

		var keys []string
		for i := range 500 {
			keys = append(keys, fmt.Sprint("key", i))
			must(t, c.Set(&text.Item{Key: keys[i], Value: bytes.Repeat([]byte{byte(i)}, i*10)}))
		}
		items, err := c.GetMulti(append(keys, "missing1", "missing2"))
		must(t, err)
		equal(t, len(items), len(keys))
		for i, key := range keys {
			if !bytes.Equal(items[key].Value, bytes.Repeat([]byte{byte(i)}, i*10)) {
				t.Fatalf("%s has another value", key)
			}
		}
		large := bytes.Repeat([]byte("x"), 1000000)
		must(t, c.Set(&text.Item{Key: "large", Value: large}))
		equal(t, value("large"), string(large))
		must(t, c.DeleteAll())
		_, err = c.Get("large")
		want(t, err, text.ErrCacheMiss)
	})
}

// TestGomemcached makes the usual calls of a client of the binary protocol.
func TestGomemcached(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, d *daemon) {
		c, err := binary.Connect("tcp", d.addr)
		must(t, err)
		defer c.Close()
		status := func(err error, want gomemcached.Status) {
			t.Helper()
			var response *gomemcached.MCResponse
			if !errors.As(err, &response) || response.Status != want {
				t.Fatalf("error %v, want status %v", err, want)
			}
		}
		value := func(key string) string {
			t.Helper()
			response, err := c.Get(0, key)
			must(t, err)
			return string(response.Body)
		}

		_, err = c.Get(0, "k")
		status(err, gomemcached.KEY_ENOENT)
		_, err = c.Set(0, "k", 123, 0, []byte("one"))
		must(t, err)
		response, err := c.Get(0, "k")
		must(t, err)
		equal(t, string(response.Body), "one")
		equal(t, string(response.Extras), "\x00\x00\x00\x7b")
		_, err = c.Add(0, "k", 0, 0, []byte("two"))
		status(err, gomemcached.KEY_EEXISTS)
		_, err = c.Append(0, "k", []byte("!"))
		must(t, err)
		equal(t, value("k"), "one!")

		_, err = c.SetCas(0, "k", 0, 0, response.Cas, []byte("late"))
		status(err, gomemcached.KEY_EEXISTS)
		response, err = c.Get(0, "k")
		must(t, err)
		_, err = c.SetCas(0, "k", 0, 0, response.Cas, []byte("in time"))
		must(t, err)
		_, err = c.CAS(0, "k", func(current []byte) ([]byte, binary.CasOp) { return append(current, '.'), binary.CASStore }, 0)
		must(t, err)
		equal(t, value("k"), "in time.")

		n, err := c.Incr(0, "n", 5, 10, 0)
		must(t, err)
		equal(t, n, 10)
		n, err = c.Incr(0, "n", 5, 10, 0)
		must(t, err)
		equal(t, n, 15)
		n, err = c.Decr(0, "n", 20, 0, 0)
		must(t, err)
		equal(t, n, 0)
		_, err = c.Incr(0, "k", 1, 0, 0)
		status(err, gomemcached.DELTA_BADVAL)

		response, err = c.GetAndTouch(0, "k", 100)
		must(t, err)
		equal(t, string(response.Body), "in time.")
		_, err = c.Del(0, "k")
		must(t, err)
		_, err = c.Del(0, "k")
		status(err, gomemcached.KEY_ENOENT)

		var keys []string
		for i := range 200 {
			keys = append(keys, fmt.Sprint("key", i))
			_, err := c.Set(0, keys[i], 0, 0, []byte(strings.Repeat("x", i*10)))
			must(t, err)
		}
		found := map[string]*gomemcached.MCResponse{}
		must(t, c.GetBulk(0, append(keys, "missing1", "missing2"), found, nil))
		equal(t, len(found), len(keys))
		for i, key := range keys {
			equal(t, len(found[key].Body), i*10)
		}
		stats, err := c.StatsMap("")
		must(t, err)
		equal(t, stats["curr_items"], "201")
	})
}

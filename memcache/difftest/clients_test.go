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

	"github.com/evmq/evmq/internal/testkit"
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
		testkit.Must(t, c.Ping())
		value := func(key string) string {
			t.Helper()
			it, err := c.Get(key)
			testkit.Must(t, err)
			return string(it.Value)
		}

		_, err := c.Get("k")
		want(t, err, text.ErrCacheMiss)
		testkit.Must(t, c.Set(&text.Item{Key: "k", Value: []byte("one"), Flags: 123}))
		it, err := c.Get("k")
		testkit.Must(t, err)
		equal(t, string(it.Value), "one")
		equal(t, it.Flags, 123)
		want(t, c.Set(&text.Item{Key: "with space", Value: nil}), text.ErrMalformedKey)
		want(t, c.Set(&text.Item{Key: strings.Repeat("k", 251)}), text.ErrMalformedKey)

		want(t, c.Add(&text.Item{Key: "k", Value: []byte("two")}), text.ErrNotStored)
		testkit.Must(t, c.Add(&text.Item{Key: "n", Value: []byte("10")}))
		want(t, c.Replace(&text.Item{Key: "missing", Value: []byte("x")}), text.ErrNotStored)
		testkit.Must(t, c.Replace(&text.Item{Key: "k", Value: []byte("two")}))
		testkit.Must(t, c.Append(&text.Item{Key: "k", Value: []byte("!")}))
		testkit.Must(t, c.Prepend(&text.Item{Key: "k", Value: []byte("<")}))
		equal(t, value("k"), "<two!")
		want(t, c.Append(&text.Item{Key: "missing", Value: []byte("x")}), text.ErrNotStored)

		arithmetic(t, c)

		it, err = c.Get("k")
		testkit.Must(t, err)
		testkit.Must(t, c.Set(&text.Item{Key: "k", Value: []byte("meanwhile")}))
		it.Value = []byte("late")
		want(t, c.CompareAndSwap(it), text.ErrCASConflict)
		it, err = c.Get("k")
		testkit.Must(t, err)
		it.Value = []byte("in time")
		testkit.Must(t, c.CompareAndSwap(it))
		testkit.Must(t, c.Delete("k"))
		want(t, c.CompareAndSwap(it), text.ErrCacheMiss)
		want(t, c.Delete("k"), text.ErrCacheMiss)

		testkit.Must(t, c.Set(&text.Item{Key: "k", Value: []byte("x")}))
		testkit.Must(t, c.Touch("k", 100))
		want(t, c.Touch("missing", 100), text.ErrCacheMiss)
		it, err = c.GetAndTouch("k", 100)
		testkit.Must(t, err)
		equal(t, string(it.Value), "x")
		testkit.Must(t, c.Touch("k", -1))
		_, err = c.Get("k")
		want(t, err, text.ErrCacheMiss)
		manyAndLargeItems(t, c)
	})
}

// manyAndLargeItems gets many items at once and one that is large, and deletes all.
func manyAndLargeItems(t *testing.T, c *text.Client) {
	t.Helper()
	var keys []string
	for i := range 500 {
		keys = append(keys, fmt.Sprint("key", i))
		testkit.Must(t, c.Set(&text.Item{Key: keys[i], Value: bytes.Repeat([]byte{byte(i)}, i*10)}))
	}
	items, err := c.GetMulti(append(keys, "missing1", "missing2"))
	testkit.Must(t, err)
	equal(t, len(items), len(keys))
	for i, key := range keys {
		if !bytes.Equal(items[key].Value, bytes.Repeat([]byte{byte(i)}, i*10)) {
			t.Fatalf("%s has another value", key)
		}
	}
	large := bytes.Repeat([]byte("x"), 1000000)
	testkit.Must(t, c.Set(&text.Item{Key: "large", Value: large}))
	it, err := c.Get("large")
	testkit.Must(t, err)
	equal(t, string(it.Value), string(large))
	testkit.Must(t, c.DeleteAll())
	_, err = c.Get("large")
	want(t, err, text.ErrCacheMiss)
}

// arithmetic counts with the item n, which is 10, with one that is missing, and with k, which is no number.
func arithmetic(t *testing.T, c *text.Client) {
	t.Helper()
	n, err := c.Increment("n", 5)
	testkit.Must(t, err)
	equal(t, n, 15)
	n, err = c.Decrement("n", 100)
	testkit.Must(t, err)
	equal(t, n, 0)
	_, err = c.Increment("missing", 1)
	want(t, err, text.ErrCacheMiss)
	_, err = c.Increment("k", 1)
	if err == nil || !strings.Contains(err.Error(), "client error") {
		t.Fatalf("incr of a word: %v", err)
	}
}

// TestGomemcached makes the usual calls of a client of the binary protocol.
func TestGomemcached(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, d *daemon) {
		c, err := binary.Connect("tcp", d.addr)
		testkit.Must(t, err)
		defer c.Close()
		value := func(key string) string {
			t.Helper()
			response, err := c.Get(0, key)
			testkit.Must(t, err)
			return string(response.Body)
		}

		_, err = c.Get(0, "k")
		wantStatus(t, err, gomemcached.KEY_ENOENT)
		_, err = c.Set(0, "k", 123, 0, []byte("one"))
		testkit.Must(t, err)
		response, err := c.Get(0, "k")
		testkit.Must(t, err)
		equal(t, string(response.Body), "one")
		equal(t, string(response.Extras), "\x00\x00\x00\x7b")
		_, err = c.Add(0, "k", 0, 0, []byte("two"))
		wantStatus(t, err, gomemcached.KEY_EEXISTS)
		_, err = c.Append(0, "k", []byte("!"))
		testkit.Must(t, err)
		equal(t, value("k"), "one!")

		_, err = c.SetCas(0, "k", 0, 0, response.Cas, []byte("late"))
		wantStatus(t, err, gomemcached.KEY_EEXISTS)
		response, err = c.Get(0, "k")
		testkit.Must(t, err)
		_, err = c.SetCas(0, "k", 0, 0, response.Cas, []byte("in time"))
		testkit.Must(t, err)
		_, err = c.CAS(0, "k", func(current []byte) ([]byte, binary.CasOp) { return append(current, '.'), binary.CASStore }, 0)
		testkit.Must(t, err)
		equal(t, value("k"), "in time.")

		n, err := c.Incr(0, "n", 5, 10, 0)
		testkit.Must(t, err)
		equal(t, n, 10)
		n, err = c.Incr(0, "n", 5, 10, 0)
		testkit.Must(t, err)
		equal(t, n, 15)
		n, err = c.Decr(0, "n", 20, 0, 0)
		testkit.Must(t, err)
		equal(t, n, 0)
		_, err = c.Incr(0, "k", 1, 0, 0)
		wantStatus(t, err, gomemcached.DELTA_BADVAL)

		response, err = c.GetAndTouch(0, "k", 100)
		testkit.Must(t, err)
		equal(t, string(response.Body), "in time.")
		_, err = c.Del(0, "k")
		testkit.Must(t, err)
		_, err = c.Del(0, "k")
		wantStatus(t, err, gomemcached.KEY_ENOENT)
		manyBinaryItems(t, c)
	})
}

// manyBinaryItems gets many items at once, and the statistics.
func manyBinaryItems(t *testing.T, c *binary.Client) {
	t.Helper()
	var keys []string
	for i := range 200 {
		keys = append(keys, fmt.Sprint("key", i))
		_, err := c.Set(0, keys[i], 0, 0, []byte(strings.Repeat("x", i*10)))
		testkit.Must(t, err)
	}
	found := map[string]*gomemcached.MCResponse{}
	testkit.Must(t, c.GetBulk(0, append(keys, "missing1", "missing2"), found, nil))
	equal(t, len(found), len(keys))
	for i, key := range keys {
		equal(t, len(found[key].Body), i*10)
	}
	stats, err := c.StatsMap("")
	testkit.Must(t, err)
	equal(t, stats["curr_items"], "201")
}

// wantStatus fails the test unless err is a response with this status.
func wantStatus(t *testing.T, err error, want gomemcached.Status) {
	t.Helper()
	var response *gomemcached.MCResponse
	if !errors.As(err, &response) || response.Status != want {
		t.Fatalf("error %v, want status %v", err, want)
	}
}

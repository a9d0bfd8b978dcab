package memcache_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
)

// newCache returns a cache without a server, on a clock that the test advances.
func newCache(t testing.TB, c memcache.Config) (*memcache.Cache, *clock) {
	t.Helper()
	clock := newClock()
	c.Clock, c.Logger = clock, slog.New(slog.DiscardHandler)
	cache, err := memcache.New(&c)
	testkit.Must(t, err)
	t.Cleanup(func() { testkit.Must(t, cache.Close()) })
	return cache, clock
}

// text returns an item with a value.
func text(value string) memcache.Item { return memcache.Item{Value: []byte(value)} }

// each calls each method of a cache that takes a key.
func each(c *memcache.Cache, key string) map[string]error {
	_, get := c.Get(key)
	_, appendGet := c.AppendGet(nil, key)
	_, increment := c.Increment(key, 1)
	_, decrement := c.Decrement(key, 1)
	return map[string]error{
		"Get": get, "AppendGet": appendGet, "Set": c.Set(key, text("1")), "Add": c.Add(key, text("1")),
		"CompareAndSwap": c.CompareAndSwap(key, memcache.Item{CAS: 1}), "Delete": c.Delete(key), "Touch": c.Touch(key, 0),
		"Increment": increment, "Decrement": decrement,
	}
}

// TestKeysFollowTheRulesOfTheTextProtocol checks that each method refuses a key that no client of the text protocol could use, and names its fault.
func TestKeysFollowTheRulesOfTheTextProtocol(t *testing.T) {
	cache, _ := newCache(t, memcache.Config{})
	faults := map[string]string{"": "key is empty", strings.Repeat("k", 251): "key has 251 bytes", "a b": "a space at offset 1", "a\x7f": "0x7f, at offset 1"}
	for b := range byte(' ') {
		faults["key"+string(rune(b))] = fmt.Sprintf("a control byte, %#02x, at offset 3", b)
	}
	for key, fault := range faults {
		for method, err := range each(cache, key) {
			if !errors.Is(err, memcache.ErrInvalid) || !strings.Contains(err.Error(), fault) || len(err.Error()) > 400 {
				t.Errorf("%s of %.20q: %v; want an ErrInvalid with %q", method, key, err, fault)
			}
		}
	}
	if n := cache.Stats("")["cmd_set"]; n != "0" {
		t.Errorf("%s refused values are counted", n)
	}
	for _, key := range []string{"k", strings.Repeat("k", 250), "!~", "ключ", "\x80\xff"} {
		for method, err := range each(cache, key) {
			if errors.Is(err, memcache.ErrInvalid) {
				t.Errorf("%s of %.20q: %v", method, key, err)
			}
		}
	}
}

// TestTTLIsRoundedUpToWholeSeconds and an item is gone in the second in which it expires.
func TestTTLIsRoundedUpToWholeSeconds(t *testing.T) {
	cache, clock := newCache(t, memcache.Config{})
	const day = 24 * 60 * 60
	for ttl, seconds := range map[time.Duration]int64{
		1: 1, time.Second - 1: 1, time.Second: 1, time.Second + 1: 2, 1500 * time.Millisecond: 2, 30 * day * time.Second: 30 * day,
		30*day*time.Second + 1: 30*day + 1, 400 * day * time.Second: 400 * day, // no TTL is taken for a date, as exptime of the protocol is
	} {
		ways := map[string]func(key string) error{
			"set": func(key string) error { return cache.Set(key, memcache.Item{TTL: ttl}) },
			"add": func(key string) error { return cache.Add(key, memcache.Item{TTL: ttl}) },
			"touch": func(key string) error {
				return errors.Join(cache.Set(key, memcache.Item{}), cache.Touch(key, ttl))
			},
			"swap": func(key string) error {
				testkit.Must(t, cache.Set(key, memcache.Item{}))
				it, err := cache.Get(key)
				testkit.Must(t, err)
				it.TTL = ttl
				return cache.CompareAndSwap(key, it)
			},
		}
		for name, store := range ways {
			testkit.Must(t, store(name))
			if it, err := cache.Get(name); err != nil || it.TTL != time.Duration(seconds)*time.Second {
				t.Errorf("%s: the TTL of %v is %v, %v; want %d seconds", name, ttl, it.TTL, err, seconds)
			}
		}
		clock.add(seconds - 1)
		for name := range ways {
			if it, err := cache.Get(name); err != nil || it.TTL != time.Second {
				t.Errorf("%s: a second before the end of %v the TTL is %v, %v", name, ttl, it.TTL, err)
			}
		}
		clock.add(1)
		for name := range ways {
			if _, err := cache.Get(name); !errors.Is(err, memcache.ErrNotFound) {
				t.Errorf("%s: at the end of %v: %v", name, ttl, err)
			}
		}
	}
}

// TestATTLOfZeroOrTooFarAwayIsForeverAndANegativeOneHasPassed stores items with such TTLs, and moves the clock.
func TestATTLOfZeroOrTooFarAwayIsForeverAndANegativeOneHasPassed(t *testing.T) {
	cache, clock := newCache(t, memcache.Config{})
	for _, ttl := range []time.Duration{0, math.MaxInt64, 100 * 365 * 24 * time.Hour} {
		testkit.Must(t, cache.Set("k", memcache.Item{TTL: ttl}))
		if it, err := cache.Get("k"); err != nil || it.TTL != 0 {
			t.Errorf("%v: the TTL is %v, %v", ttl, it.TTL, err)
		}
	}
	clock.add(80 * 365 * 24 * 60 * 60)
	if _, err := cache.Get("k"); err != nil {
		t.Errorf("after 80 years: %v", err)
	}
	for _, ttl := range []time.Duration{-1, -time.Hour, math.MinInt64} {
		testkit.Must(t, cache.Set("k", text("old")))
		testkit.Must(t, cache.Set("k", memcache.Item{TTL: ttl}))
		if _, err := cache.Get("k"); !errors.Is(err, memcache.ErrNotFound) {
			t.Errorf("%v: %v", ttl, err)
		}
	}
}

// TestTheCallerOwnsTheValuesThatItPassesAndReceives: the cache keeps neither.
func TestTheCallerOwnsTheValuesThatItPassesAndReceives(t *testing.T) {
	cache, _ := newCache(t, memcache.Config{})
	for _, n := range []int{1, 100, 20_000, 500_000} {
		want := strings.Repeat("v", n)
		for name, store := range map[string]func(memcache.Item) error{
			"set": func(it memcache.Item) error { return cache.Set("k", it) },
			"add": func(it memcache.Item) error {
				testkit.Must(t, cache.Delete("k"))
				return cache.Add("k", it)
			},
			"swap": func(it memcache.Item) error {
				old, err := cache.Get("k")
				testkit.Must(t, err)
				it.CAS = old.CAS
				return cache.CompareAndSwap("k", it)
			},
		} {
			testkit.Must(t, cache.Set("k", text("old")))
			passed := []byte(want)
			testkit.Must(t, store(memcache.Item{Value: passed}))
			clear(passed)
			for range 2 {
				it, err := cache.Get("k")
				testkit.Must(t, err)
				if string(it.Value) != want {
					t.Fatalf("%s: a value of %d bytes was changed through a slice of the caller", name, n)
				}
				clear(it.Value[:cap(it.Value)])
			}
		}
	}
}

// TestAppendGetAppends, and returns the slice as it was if there is no item.
func TestAppendGetAppends(t *testing.T) {
	cache, _ := newCache(t, memcache.Config{})
	room := append(make([]byte, 0, 100), "prefix "...)
	for _, value := range []string{"", "value", strings.Repeat("v", 50_000)} {
		testkit.Must(t, cache.Set("k", text(value)))
		it, err := cache.AppendGet(room, "k")
		if err != nil || string(it.Value) != "prefix "+value || len(value) < 90 && &it.Value[0] != &room[0] {
			t.Errorf("%d bytes: %.20q, %v", len(value), it.Value, err)
		}
	}
	for key, want := range map[string]error{"absent": memcache.ErrNotFound, "": memcache.ErrInvalid} {
		if it, err := cache.AppendGet(room, key); !errors.Is(err, want) || string(it.Value) != "prefix " {
			t.Errorf("%q: %q, %v", key, it.Value, err)
		}
	}
}

// TestASetThatFailsRemovesTheOldItem, so that the old value is not mistaken for the new one. Add and CompareAndSwap leave the old item.
func TestASetThatFailsRemovesTheOldItem(t *testing.T) {
	cache, _ := newCache(t, memcache.Config{MaxItem: 1000, Memory: 2 << 20, NoEvict: true})
	tooLarge := memcache.Item{Value: make([]byte, 1000), CAS: 1}
	testkit.Must(t, cache.Set("k", text("old")))
	old, err := cache.Get("k")
	testkit.Must(t, err)
	tooLarge.CAS = old.CAS
	for name, err := range map[string]error{"add": cache.Add("new", tooLarge), "compare and swap": cache.CompareAndSwap("k", tooLarge)} {
		if !errors.Is(err, memcache.ErrTooLarge) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "1000 bytes") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if it, err := cache.Get("k"); err != nil || string(it.Value) != "old" {
		t.Errorf("after a swap that failed: %q, %v", it.Value, err)
	}
	if err := cache.Set("k", tooLarge); !errors.Is(err, memcache.ErrTooLarge) || !strings.Contains(err.Error(), `"k"`) {
		t.Errorf("set: %v", err)
	}
	if _, err := cache.Get("k"); !errors.Is(err, memcache.ErrNotFound) {
		t.Errorf("after a set that failed: %v", err)
	}
	testkit.Must(t, cache.Set("k", text("old")))
	for i := 0; err == nil; i++ {
		err = cache.Set(fmt.Sprint("fill", i), memcache.Item{Value: make([]byte, 800)})
	}
	if !errors.Is(err, memcache.ErrNoMemory) || !strings.Contains(err.Error(), `"fill`) {
		t.Errorf("a full cache that does not evict: %v", err)
	}
	if err := cache.Set("k", memcache.Item{Value: make([]byte, 800)}); !errors.Is(err, memcache.ErrNoMemory) {
		t.Errorf("set: %v", err)
	}
	if _, err := cache.Get("k"); !errors.Is(err, memcache.ErrNotFound) {
		t.Errorf("after a set without room: %v", err)
	}
}

// TestCallsAllocateNothing: neither those that find an item nor those that do not. Get allocates the value.
func TestCallsAllocateNothing(t *testing.T) {
	if leaktest.Raced() {
		t.Skip("the race detector allocates")
	}
	cache, _ := newCache(t, memcache.Config{})
	testkit.Must(t, cache.Set("k", text("value")))
	testkit.Must(t, cache.Set("n", text("18446744073709551000")))
	room, value, key := make([]byte, 0, 100), []byte("value"), strings.Repeat("k", 250)
	swap := func() error {
		it, err := cache.AppendGet(room, "k")
		if err != nil {
			return err
		}
		it.Value = value
		return cache.CompareAndSwap("k", it)
	}
	for name, call := range map[string]struct {
		fn   func() error
		want error
		most float64
	}{
		"get":              {func() error { _, err := cache.Get("k"); return err }, nil, 1},
		"append":           {func() error { _, err := cache.AppendGet(room, "k"); return err }, nil, 0},
		"append of absent": {func() error { _, err := cache.AppendGet(room, key); return err }, memcache.ErrNotFound, 0},
		"set":              {func() error { return cache.Set("k", memcache.Item{Value: value, TTL: time.Hour}) }, nil, 0},
		"add":              {func() error { return cache.Add("k", memcache.Item{Value: value}) }, memcache.ErrExists, 0},
		"swap":             {swap, nil, 0},
		"swap of changed":  {func() error { return cache.CompareAndSwap("k", memcache.Item{CAS: math.MaxUint64}) }, memcache.ErrChanged, 0},
		"touch":            {func() error { return cache.Touch("k", time.Hour) }, nil, 0},
		"increment":        {func() error { _, err := cache.Increment("n", 1); return err }, nil, 0},
		"decrement":        {func() error { _, err := cache.Decrement("n", 1); return err }, nil, 0},
		"not a number":     {func() error { _, err := cache.Increment("k", 1); return err }, memcache.ErrNotNumber, 0},
		"delete of absent": {func() error { return cache.Delete(key) }, memcache.ErrNotFound, 0},
		"set and delete":   {func() error { return errors.Join(cache.Set(key, memcache.Item{Value: value}), cache.Delete(key)) }, nil, 0},
	} {
		n := testing.AllocsPerRun(1000, func() {
			if err := call.fn(); !errors.Is(err, call.want) {
				t.Fatalf("%s: %v", name, err)
			}
		})
		if n > call.most {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// TestNoFlushIsForClients: FlushAll of the program removes the items, and also those of clients that must not flush.
func TestNoFlushIsForClients(t *testing.T) {
	r := start(t, memcache.Config{NoFlush: true})
	c := r.connect(t)
	c.ask("set k 0 0 1|x|flush_all|get k", "STORED|CLIENT_ERROR flush_all not allowed|VALUE k 0 1|x|END")
	r.FlushAll()
	c.ask("get k", "END")
	testkit.Must(t, r.Set("k", text("y")))
	c.ask("get k", "VALUE k 0 1|y|END")
}

// TestASetClosesStalledReadersWhoseMemoryItNeeds: it does not wait for the memory, so a later one finds it.
func TestASetClosesStalledReadersWhoseMemoryItNeeds(t *testing.T) {
	t.Parallel()
	r := newSmallCache(t)
	value := memcache.Item{Value: []byte(r.value)}
	var err error
	for i := 0; err == nil; i++ {
		key := fmt.Sprint("big", i)
		if err = r.Set(key, value); err == nil {
			slow := r.connect(t)
			testkit.Must(t, slow.Conn.(*net.TCPConn).SetReadBuffer(4096))
			slow.send("get "+key, "get "+key, "version")
			slow.lineWith("VALUE")
		}
	}
	if !errors.Is(err, memcache.ErrNoMemory) {
		t.Fatal(err)
	}
	testkit.Until(t, "room for a new item", func() bool { return r.Set("new", value) == nil })
	if n := r.Stats("evmq")["slow_readers_closed"]; n == "0" {
		t.Error("no reader was closed")
	}
}

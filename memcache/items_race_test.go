package memcache_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
)

// addedKeys is the number of keys that adders use: n0, n1 and so on.
const addedKeys = 3

// adders are functions that add 1 to the number of key i, each by another method of the cache or command of a client.
func adders(r *running) map[string]func(c *client, i int) error {
	key := func(i int) string { return fmt.Sprint("n", i%addedKeys) }
	return map[string]func(c *client, i int) error{
		"Increment": func(_ *client, i int) error {
			_, err := r.Increment(key(i), 1)
			return err
		},
		"CompareAndSwap": func(_ *client, i int) error {
			for {
				it, err := r.Get(key(i))
				if err != nil {
					return err
				}
				n, err := strconv.Atoi(string(bytes.TrimSpace(it.Value)))
				if err != nil {
					return err
				}
				it.Value = strconv.AppendInt(nil, int64(n)+1, 10)
				if err = r.CompareAndSwap(key(i), it); !errors.Is(err, memcache.ErrChanged) {
					return err
				}
			}
		},
		"incr": func(c *client, i int) error {
			if _, err := fmt.Fprintf(c, "incr %s 1\r\n", key(i)); err != nil {
				return err
			}
			line, err := c.r.ReadString('\n')
			if _, e := strconv.Atoi(strings.TrimSpace(line)); e != nil {
				return e
			}
			return err
		},
		"ma": func(c *client, i int) error {
			if _, err := fmt.Fprintf(c, "ma %s\r\n", key(i)); err != nil {
				return err
			}
			line, err := c.r.ReadString('\n')
			if !strings.HasPrefix(line, "HD") {
				return fmt.Errorf("ma is answered with %q", line)
			}
			return err
		},
	}
}

// TestNoChangeIsLostBetweenTheProgramAndClients has goroutines of the program and clients of a server add to the same numbers, by every method and
// command that can. In the end each number is the sum.
func TestNoChangeIsLostBetweenTheProgramAndClients(t *testing.T) {
	const rounds, users = 300, 2
	r := start(t, memcache.Config{})
	for k := range addedKeys {
		testkit.Must(t, r.Set(fmt.Sprint("n", k), text("0")))
	}
	ways := adders(r)
	var all sync.WaitGroup
	for name, way := range ways {
		for range users {
			c := r.connect(t)
			all.Go(func() {
				for i := range rounds {
					if err := way(c, i); err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
				}
			})
		}
	}
	all.Wait()
	for k := range addedKeys {
		if n, err := r.Increment(fmt.Sprint("n", k), 0); err != nil || n != uint64(len(ways)*users*rounds/addedKeys) {
			t.Errorf("n%d is %d, %v; want %d", k, n, err, len(ways)*users*rounds/addedKeys)
		}
	}
}

// TestEveryMethodMayBeCalledFromAnyGoroutine calls all methods at once, beside clients, in a cache that is small enough to evict. Every value that is
// read is one that was stored, whole.
func TestEveryMethodMayBeCalledFromAnyGoroutine(t *testing.T) {
	r := start(t, memcache.Config{Memory: 2 << 20, MaxItem: 64 << 10})
	key := func(i int) string { return fmt.Sprint("k", i%50) }
	value := func(i int) []byte { return bytes.Repeat([]byte{'a' + byte(i%26)}, 1+i%7*6000) }
	var all sync.WaitGroup
	run := func(name string, fn func(i int) error) {
		all.Go(func() {
			for i := range 400 {
				if err := fn(i); err != nil && !ordinary(err) {
					t.Errorf("%s: %v", name, err)
					return
				}
			}
		})
	}
	for range 2 {
		var buffer []byte
		run("set", func(i int) error {
			return r.Set(key(i), memcache.Item{Value: value(i), TTL: time.Duration(i%3) * time.Second})
		})
		run("add", func(i int) error { return r.Add(key(i+7), memcache.Item{Value: value(i + 1)}) })
		run("get", func(i int) error {
			it, err := r.Get(key(i))
			return errors.Join(err, whole(it.Value))
		})
		run("append", func(i int) error {
			it, err := r.AppendGet(buffer[:0], key(3*i))
			buffer = it.Value
			return errors.Join(err, whole(it.Value))
		})
		run("swap", func(i int) error {
			it, err := r.Get(key(i))
			if err != nil {
				return err
			}
			it.Value = value(i + 2)
			return r.CompareAndSwap(key(i), it)
		})
		run("touch, delete", func(i int) error {
			return errors.Join(r.Touch(key(i), time.Minute), r.Delete(key(i+20)))
		})
		run("numbers", func(i int) error {
			_, up := r.Increment(key(i), 1)
			_, down := r.Decrement(key(i), 1)
			return errors.Join(up, down)
		})
		run("the rest", func(i int) error {
			if r.clock.add(int64(i % 2)); i%100 == 0 {
				r.FlushAll()
			}
			if r.Stats("")["pid"] == "" {
				return errors.New("no statistics")
			}
			return nil
		})
		c := r.connect(t)
		run("client", func(i int) error { return c.setAndGet(key(i), value(i+3), key(i+1)) })
	}
	all.Wait()
}

// whole returns an error if the bytes of a value are not all the same.
func whole(p []byte) error {
	if len(p) > 0 && len(bytes.Trim(p, string(p[:1]))) > 0 {
		return fmt.Errorf("a value of %d bytes consists of several", len(p))
	}
	return nil
}

// ordinary reports whether an error may occur when items are changed and evicted meanwhile. Memory may be lent to clients.
func ordinary(err error) bool {
	return slices.ContainsFunc([]error{memcache.ErrNotFound, memcache.ErrExists, memcache.ErrChanged, memcache.ErrNotNumber, memcache.ErrNoMemory},
		func(target error) bool { return errors.Is(err, target) })
}

// setAndGet sets the value of a key, gets another key and checks its value.
func (c *client) setAndGet(key string, value []byte, other string) error {
	if _, err := fmt.Fprintf(c, "set %s 0 0 %d\r\n%s\r\nget %s\r\n", key, len(value), value, other); err != nil {
		return err
	}
	for {
		line, err := c.r.ReadString('\n')
		if err != nil || line == "END\r\n" {
			return err
		}
		if !strings.HasPrefix(line, "VALUE ") && line != "STORED\r\n" && line != "SERVER_ERROR out of memory storing object\r\n" {
			if err := whole([]byte(strings.TrimSpace(line))); err != nil {
				return err
			}
		}
	}
}

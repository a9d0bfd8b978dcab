package memcache_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/evmq/evmq/memcache"
	"github.com/evmq/evmq/server"
)

// A cache inside a program: clients of memcached use it over the network, and the program itself calls its methods.
func Example() {
	cache, err := memcache.New(&memcache.Config{Memory: 64 << 20})
	if err != nil {
		log.Fatal(err)
	}
	srv := new(server.Server)
	cache.Attach(srv)
	ln, err := srv.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	if err != nil {
		log.Fatal(err)
	}

	if err := cache.Set("greeting", memcache.Item{Value: []byte("hello")}); err != nil {
		log.Fatal(err)
	}

	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	if _, err = io.WriteString(nc, "append greeting 0 0 6\r\n world\r\nget greeting\r\nquit\r\n"); err != nil {
		log.Fatal(err)
	}
	for lines := bufio.NewScanner(nc); lines.Scan(); {
		fmt.Println(lines.Text())
	}
	nc.Close()
	if err := srv.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	if err := cache.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// STORED
	// VALUE greeting 0 11
	// hello world
	// END
}

// A value that takes long to compute is kept for a minute.
func ExampleCache_Get() {
	cache, err := memcache.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()

	page := func(name string) []byte {
		if it, err := cache.Get(name); err == nil {
			return it.Value
		}
		fmt.Println("computed:", name)
		value := []byte("page " + name)
		if err := cache.Set(name, memcache.Item{Value: value, TTL: time.Minute}); err != nil {
			log.Println(err) // the next call computes the page again
		}
		return value
	}
	fmt.Printf("%s\n", page("news"))
	fmt.Printf("%s\n", page("news"))
	// Output:
	// computed: news
	// page news
	// page news
}

// A list is extended. If a client or another goroutine changes it meanwhile, its change is not lost.
func ExampleCache_CompareAndSwap() {
	cache, err := memcache.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()

	extend := func(key, name string) error {
		for {
			it, err := cache.Get(key)
			if errors.Is(err, memcache.ErrNotFound) {
				err = cache.Add(key, memcache.Item{Value: []byte(name)})
			} else if err == nil {
				it.Value = append(it.Value, " "+name...)
				err = cache.CompareAndSwap(key, it)
			}
			if !errors.Is(err, memcache.ErrExists) && !errors.Is(err, memcache.ErrChanged) && !errors.Is(err, memcache.ErrNotFound) {
				return err
			}
		}
	}
	for _, name := range []string{"ann", "bob"} {
		if err := extend("online", name); err != nil {
			log.Println(err)
		}
	}
	it, err := cache.Get("online")
	fmt.Printf("%s %v\n", it.Value, err)
	// Output: ann bob <nil>
}

// Each address may make three requests a minute.
func ExampleCache_Increment() {
	cache, err := memcache.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer cache.Close()

	allowed := func(address string) bool {
		first := memcache.Item{Value: []byte("1"), TTL: time.Minute}
		if err := cache.Add(address, first); !errors.Is(err, memcache.ErrExists) {
			return err == nil
		}
		n, err := cache.Increment(address, 1)
		return err == nil && n <= 3
	}
	for range 4 {
		fmt.Println(allowed("192.0.2.1"))
	}
	// Output:
	// true
	// true
	// true
	// false
}

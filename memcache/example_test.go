package memcache_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"

	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/memcache"
	"github.com/evmq/evmq/server"
)

// A cache inside a program: memcached's clients use it by the network, the program itself without one.
func Example() {
	cache, err := memcache.New(memcache.Config{Memory: 64 << 20})
	if err != nil {
		log.Fatal(err)
	}
	srv := new(server.Server)
	cache.Attach(srv)
	ln, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}

	key := []byte("greeting")
	e := cache.Store().Lock(key) // its part of the store is ours until Unlock
	err = e.Put(store.Meta{CAS: cache.Store().NextCAS()}, []byte("hello"))
	e.Unlock()
	if err != nil {
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

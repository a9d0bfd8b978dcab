// Package memcache is a memcached-compatible cache: a store whose memory is bounded, the protocols of memcached for package server, and methods
// for the program that has the cache. cmd/evcached is the same cache as a program of its own.
//
//	cache, err := memcache.New(&memcache.Config{Memory: 256 << 20})
//	err = cache.Set("greeting", memcache.Item{Value: []byte("hello"), TTL: time.Minute})
//	it, err := cache.Get("greeting")
//
// The cache needs no server. With one, clients of memcached use the same items over the network:
//
//	srv := new(server.Server)
//	cache.Attach(srv)
//	err = srv.ListenAndServe("tcp", "127.0.0.1:11211")
//
// A client's requests are handled on the loop of its connection. A request holds the lock of one shard of the store while it looks up and copies
// an item, and waits for nothing else. Requests that take longer, such as a list of all keys or another memory limit, have a goroutine of their
// own. All requests that have arrived on a connection are handled together, and their answers are written in one call. After Config.PerTurn
// requests, other connections are served.
//
// To a client the cache behaves like memcached 1.6, including the texts of the answers.
package memcache

// Package memcache is a memcached-compatible cache for package server: the protocols of memcached over a store that is bounded in
// bytes. cmd/evcached is the program; this is what a program that wants such a cache inside itself imports.
//
//	cache, err := memcache.New(memcache.Config{Memory: 256 << 20})
//	srv := new(server.Server)
//	cache.Attach(srv)
//	err = srv.ListenAndServe("tcp", "127.0.0.1:11211")
//
// Every request is handled on its connection's loop: it takes the lock of one shard of the store for as long as a look and a copy
// last, and waits for nothing else; what takes longer (a list of all keys, another limit of the memory) has a goroutine of its
// own. All that a connection has sent is handled in one go, and its answers are written in one call; after Config.PerTurn requests
// the other connections have their turn.
//
// Package protocol knows the bytes, package store the data and the clock; this one is what lies between them: what each command
// means. It is memcached 1.6's meaning, down to its texts, where a client can see it.
package memcache

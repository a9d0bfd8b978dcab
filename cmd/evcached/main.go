//go:build linux || darwin || freebsd

// Evcached is a memcached-compatible server: package memcache behind memcached's command line.
//
//	go run ./cmd/evcached                      # serves 127.0.0.1:11211
//	evcached -l 0.0.0.0 -m 1024 -t 4 -u nobody
//
// flags.go, suboptions.go and check.go turn the command line into settings. run.go and serve.go make sockets, a cache and servers from the
// settings, stop.go waits for a signal and shuts them down. activation.go and notify.go implement the protocols of service managers, memoryfile.go
// keeps items over a restart. docs/evcached.md is for users.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

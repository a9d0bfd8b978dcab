//go:build linux || darwin || freebsd

// Evcached is a memcached-compatible server: package memcache behind memcached's command line.
//
//	go run ./cmd/evcached                      # serves 127.0.0.1:11211
//	evcached -l 0.0.0.0 -m 1024 -t 4 -u nobody
//
// Nothing lives here but the wiring. A command line becomes settings (flags.go, suboptions.go, check.go); run.go goes from settings
// to sockets, a cache and servers, waits for a signal, and takes all of it down again. activation.go and notify.go are for service managers,
// memoryfile.go keeps items over a restart. docs/evcached.md is for users.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

//go:build linux

package main

import (
	"bufio"

	"github.com/evmq/evmq/server"
)

// onWorkers is a handler whose requests are run by workers.
func onWorkers(fn func(server.Reply, []byte)) server.Handler {
	d := server.Dispatch(bufio.ScanLines, fn)
	d.Placement = server.OnWorkers
	return d
}

// inline is a handler whose requests are run by the loop first, because each is the first of its route.
func inline(fn func(server.Reply, []byte)) server.Handler {
	d := server.Dispatch(bufio.ScanLines, fn)
	d.Route = func(message []byte) []byte { return message }
	return d
}

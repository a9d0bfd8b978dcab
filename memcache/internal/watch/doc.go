// Package watch carries lines about what a cache does to the clients that watch it, in the format of memcached's watch command.
//
// A source, such as an event loop, writes its lines into a Buffer of its own. The Hub takes them from all buffers on one goroutine,
// orders them by their numbers, and gives each watcher those that it has asked for. Both ends are bounded: a buffer that is full
// drops lines, and a watcher that does not read is not given any until it does. Neither waits for the other. While there is no
// watcher a source pays for one atomic load.
package watch

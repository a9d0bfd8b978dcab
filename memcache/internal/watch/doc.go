// Package watch delivers lines about events of a cache to clients that watch it, in the format of memcached's watch command.
//
// Each source, such as an event loop, writes lines to its own Buffer. The Hub collects the lines of all buffers on one goroutine, orders
// them by their numbers, and writes to each watcher the kinds that it has asked for. Both ends are bounded: a full buffer drops lines, and
// a watcher that does not read skips lines. Sources never wait for watchers. Without watchers, an event costs a source one atomic load.
package watch

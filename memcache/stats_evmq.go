package memcache

// statsOwn emits the statistics that memcached does not have. They are not part of the general statistics, because some programs count the
// lines of stats.
func (c *Cache) statsOwn(line emit) {
	line("evmq_version", Release())
	line.number("slow_readers_closed", c.slowReaders.Load())
	line.number("slow_writers_closed", c.slowWriters.Load())
	line.number("panics", c.panics.Load())
}

package server

import (
	"reflect"
	"sync"
)

// exts has exts that connections have dropped, so that requests which need one for a short time do not allocate it.
var exts = sync.Pool{New: func() any { return new(ext) }}

// dropExt drops the ext if all of it has its zero value: what has needed it, such as a timer, a pause or a reply that was sent in pieces, is
// over. An idle connection then does without its memory, and its output goes the short ways of connections without an ext. A connection
// with a layer keeps its ext; see layers. Under mu, on the loop, at the end of its work on the connection.
func (c *loopConn) dropExt() {
	if c.ext == nil || c.layers != 0 {
		return
	}
	if c.in == nil && !c.hasRequests() {
		c.ext.newHandler = false // the next input begins with a new cursor in any case
	}
	if c.ext.isZero() {
		exts.Put(c.ext)
		c.ext = nil
	}
}

// isZero reports whether all fields have their zero values. It looks first at what most connections with an ext have for long. Under the
// connection's mu.
func (x *ext) isZero() bool {
	if x.handler != nil || x.timers != nil || x.conc != nil || x.reason != nil || x.ctx != nil || x.timeouts != nil {
		return false
	}
	return reflect.ValueOf(x).Elem().IsZero()
}

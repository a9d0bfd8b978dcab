package server

import (
	"unsafe"

	"github.com/evmq/evmq/event"
)

// bytesOf lends the bytes of s, which are only read.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// offsetIn returns where sub lies in p, and whether it does.
func offsetIn(p, sub []byte) (at int, ok bool) {
	offset := uintptr(unsafe.Pointer(unsafe.SliceData(sub))) - uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	return int(offset), offset <= uintptr(len(p)) && uintptr(len(sub)) <= uintptr(len(p))-offset
}

// connOf returns the connection that e, whose callback is the loop's ready, is a part of: without a look into the table, which costs
// a cache miss.
func connOf(e *event.Event) *loopConn { return (*loopConn)(unsafe.Pointer(e)) }

// loopPart is the part of c that belongs to its loop. Each Conn is a part of one.
func (c *Conn) loopPart() *loopConn {
	return (*loopConn)(unsafe.Add(unsafe.Pointer(c), -int(unsafe.Offsetof(loopConn{}.Conn))))
}

// The event is the first field, or this does not compile.
var _ [0]struct{} = [unsafe.Offsetof(loopConn{}.ev)]struct{}{}

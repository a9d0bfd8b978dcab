package server

import (
	"unsafe"

	"github.com/evmq/evmq/event"
)

// bytesOf returns the bytes of s without a copy. They must only be read.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// offsetIn returns the offset of sub in p, and whether sub is a part of p.
func offsetIn(p, sub []byte) (at int, ok bool) {
	offset := uintptr(unsafe.Pointer(unsafe.SliceData(sub))) - uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	return int(offset), offset <= uintptr(len(p)) && uintptr(len(sub)) <= uintptr(len(p))-offset
}

// connOf returns the connection that contains e, whose callback is loop.ready. A lookup in the table of connections would cost a cache miss.
func connOf(e *event.Event) *loopConn { return (*loopConn)(unsafe.Pointer(e)) }

// loopPart returns the loopConn that contains c. Every Conn is in one.
func (c *Conn) loopPart() *loopConn {
	return (*loopConn)(unsafe.Add(unsafe.Pointer(c), -int(unsafe.Offsetof(loopConn{}.Conn))))
}

// This compiles only if the event is the first field.
var _ [0]struct{} = [unsafe.Offsetof(loopConn{}.ev)]struct{}{}

// A handlerID identifies a RequestHandler by its type and its value, which is a pointer, so that the handler need not be comparable. It
// does not keep the handler alive, so a later handler may have the handlerID of one that was garbage-collected.
type handlerID [2]uintptr

// idOf returns the handlerID of h.
func idOf(h RequestHandler) handlerID {
	return *(*handlerID)(unsafe.Pointer(&h))
}

// ofType returns the handlerID that handlers of the type share.
func (id handlerID) ofType() handlerID { return handlerID{id[0], 0} }

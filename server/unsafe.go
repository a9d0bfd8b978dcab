package server

import (
	"unsafe"

	"github.com/evmq/evmq/event"
)

// bytesOf lends the bytes of s, which are only read.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// connOf is the connection that e, whose callback is the loop's ready, is a part of: without a look into the table, which costs
// a cache miss.
func connOf(e *event.Event) *Conn { return (*Conn)(unsafe.Pointer(e)) }

// A Conn's event is its first field, or this does not compile.
var _ [0]struct{} = [unsafe.Offsetof(Conn{}.ev)]struct{}{}

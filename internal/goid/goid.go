// Package goid returns the numbers of goroutines, and finds functions on their stacks. By both a call learns whether it is made on the goroutine
// of a loop.
package goid

import "runtime"

// Of returns the number of the calling goroutine that stack traces show ("goroutine 18 [running]"). It uses buf, of 64 bytes, to avoid an
// allocation. The runtime has no other source for it; net/http's HTTP/2 checks read it in the same way. It formats the whole
// stack, which takes about a microsecond and longer if the stack is deep, so it is used only by calls that run a loop or may have to wait.
func Of(buf []byte) (id uint64) {
	const prefix = len("goroutine ")
	n := runtime.Stack(buf, false)
	for _, c := range buf[min(prefix, n):n] {
		if c < '0' || c > '9' {
			break
		}
		id = id*10 + uint64(c-'0')
	}
	if id == 0 {
		panic("goid: no goroutine number in the stack trace: " + string(buf[:n]))
	}
	return id
}

// Current is Of with a buffer of its own, which it reuses.
func Current() uint64 {
	buf := takeBuf()
	defer returnBuf(buf)
	return Of(buf[:])
}

// bufs holds buffers for Current. It is not a sync.Pool, which allocates in race builds even in steady use.
var bufs = make(chan *[64]byte, 16)

func takeBuf() *[64]byte {
	select {
	case buf := <-bufs:
		return buf
	default:
		return new([64]byte)
	}
}

func returnBuf(buf *[64]byte) {
	select {
	case bufs <- buf:
	default: // more calls at once than usual
	}
}

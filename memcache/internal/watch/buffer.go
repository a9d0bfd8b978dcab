package watch

import (
	"encoding/binary"
	"strconv"
	"sync"
	"time"

	"github.com/evmq/evmq/internal/memcache/protocol"
)

// A Buffer holds the lines of one source. Any goroutine may write to it. A write never waits for a watcher: lines that do not fit are dropped
// and counted.
type Buffer struct {
	hub *Hub

	mu      sync.Mutex // guards the fields below
	records []byte     // records that the hub has not taken
	spare   []byte     // the buffer that the hub took before, for reuse
}

// maxLine exceeds the length of every line: an escaped key of 250 bytes has up to 750.
const maxLine = 1024

// take removes and returns the records. They are valid until the next call.
func (b *Buffer) take() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.records
	b.records, b.spare = b.spare[:0], taken
	return taken
}

// begin locks b and begins a line, up to its type; end completes it. If there is no room, begin returns nil and does not lock b.
func (b *Buffer) begin(event Events, kind string) []byte {
	h := b.hub
	b.mu.Lock()
	if len(b.records)+maxLine > h.bufferSize {
		b.mu.Unlock()
		h.dropped.Add(1)
		return nil
	}
	if b.records == nil {
		b.records = make([]byte, 0, h.bufferSize)
	}
	number := h.numbers.Add(1)
	p := binary.NativeEndian.AppendUint64(b.records, number)
	p = append(p, 0, 0, byte(event))
	now := time.Now()
	p = append(p, "ts="...)
	p = strconv.AppendInt(p, now.Unix(), 10)
	p = append(p, '.')
	p = strconv.AppendInt(p, int64(now.Nanosecond()/1000), 10) // without leading zeros, as in memcached
	p = append(p, " gid="...)
	p = strconv.AppendUint(p, number, 10)
	p = append(p, " type="...)
	return append(p, kind...)
}

// end completes the line p, and unlocks b.
func (b *Buffer) end(p []byte) {
	p = append(p, '\n')
	start, first := len(b.records), len(b.records) == 0
	binary.NativeEndian.PutUint16(p[start+lengthAt:], uint16(len(p)-start-recordHead))
	b.records = p
	b.mu.Unlock()
	b.hub.written.Add(1)
	if first {
		select {
		case b.hub.wake <- struct{}{}:
		default: // a wake-up is pending
		}
	}
}

// word appends a name and a word.
func word(p []byte, name, value string) []byte {
	p = append(p, name...)
	return append(p, value...)
}

// number appends a name and a number.
func number(p []byte, name string, value int64) []byte {
	p = append(p, name...)
	return strconv.AppendInt(p, value, 10)
}

// key appends the key, with %XX for every byte except letters, digits and -._~.
func key(p, key []byte) []byte {
	p = append(p, " key="...)
	return protocol.AppendEscaped(p, key)
}

package memcache

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// prefixes counts requests for each prefix of keys, the part before the first colon, for stats detail. It is off until a client turns it on.
type prefixes struct {
	on atomic.Bool

	mu   sync.Mutex // guards seen
	seen map[string]*prefix
}

type prefix struct{ gets, hits, sets, deletes uint64 }

// maxPrefixes is the maximum number of prefixes that are counted, because keys with random prefixes could fill the memory.
const maxPrefixes = 10_000

func (p *prefixes) get(key []byte, hit bool) {
	if p.on.Load() {
		p.count(key, func(n *prefix) {
			n.gets++
			if hit {
				n.hits++
			}
		})
	}
}

func (p *prefixes) set(key []byte) {
	if p.on.Load() {
		p.count(key, func(n *prefix) { n.sets++ })
	}
}

func (p *prefixes) delete(key []byte) {
	if p.on.Load() {
		p.count(key, func(n *prefix) { n.deletes++ })
	}
}

func (p *prefixes) count(key []byte, change func(*prefix)) {
	i := bytes.IndexByte(key, ':')
	if i < 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.seen[string(key[:i])]
	if n == nil {
		if len(p.seen) >= maxPrefixes {
			return
		}
		if p.seen == nil {
			p.seen = map[string]*prefix{}
		}
		n = new(prefix)
		p.seen[string(key[:i])] = n
	}
	change(n)
}

// appendDump appends a line for each prefix.
func (p *prefixes) appendDump(b []byte) []byte {
	p.mu.Lock()
	seen := make(map[string]prefix, len(p.seen))
	for name, n := range p.seen {
		seen[name] = *n
	}
	p.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		n := seen[name]
		b = fmt.Appendf(b, "PREFIX %s get %d hit %d set %d del %d\r\n", name, n.gets, n.hits, n.sets, n.deletes)
	}
	return append(b, "END\r\n"...)
}

func (p *prefixes) reset() {
	p.mu.Lock()
	p.seen = nil
	p.mu.Unlock()
}

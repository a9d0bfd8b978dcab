package memcache

import (
	"strconv"
	"strings"
)

// modelItem is an item of the model.
type modelItem struct {
	value      string
	flags      uint32
	expires    int64 // second; 0: never
	stored     int64 // second
	cas        uint64
	stale, won bool
}

// model does with its items what memcached does, with three exceptions: flushed items do not reappear after another flush, a flush without a time
// takes effect at once also without unique numbers, and there is no limit. As in memcached a flush is two numbers: no item that was stored in the
// second oldest or earlier is found from that second on, and no item with a unique number below oldestCAS.
type model struct {
	now, began int64
	items      map[string]*modelItem
	cas        uint64
	oldest     int64 // 0: no flush
	oldestCAS  uint64
	noCAS      bool
}

func newModel(now int64, noCAS bool) *model {
	return &model{now: now, began: now, items: map[string]*modelItem{}, noCAS: noCAS}
}

// when returns the second that an exptime stands for.
func (m *model) when(exptime int64) int64 {
	switch {
	case exptime == 0:
		return 0
	case exptime < 0:
		return 1
	case exptime > 30*24*60*60:
		return exptime
	}
	return m.now + exptime
}

// find returns the item of a key, or nil if there is none that has neither expired nor been flushed.
func (m *model) find(key string) *modelItem {
	it := m.items[key]
	if it == nil {
		return nil
	}
	flushed := m.oldest != 0 && m.oldest <= m.now && (it.stored <= m.oldest || it.cas != 0 && it.cas < m.oldestCAS)
	if flushed || it.expires != 0 && it.expires <= m.now {
		delete(m.items, key)
		return nil
	}
	return it
}

func (m *model) flush(exptime int64) {
	for key := range m.items {
		m.find(key) // so that flushed items stay removed
	}
	at := m.now
	if exptime > 0 {
		at = m.when(exptime)
	}
	if m.oldest = at - 1; m.noCAS {
		m.oldest = at
	}
	switch {
	case at-1 <= m.began-62: // before memcached's time
		m.oldest = 0
	case m.noCAS && at <= m.now: // evcached keeps items that are stored later in this second, unlike memcached
		m.oldest = 0
		clear(m.items)
	case m.oldest <= m.now:
		m.oldestCAS = m.cas + 1
	}
}

func (m *model) nextCAS() uint64 {
	if m.noCAS {
		return 0
	}
	m.cas++
	return m.cas
}

// put stores an item unconditionally.
func (m *model) put(key, value string, flags uint32, expires int64) *modelItem {
	it := &modelItem{value: value, flags: flags, expires: expires, stored: m.now, cas: m.nextCAS()}
	m.items[key] = it
	return it
}

// store executes a request to store, and returns the answer and the item that is stored afterwards. command is its name in the text protocol.
func (m *model) store(command, key, value string, flags uint32, expires int64, cas uint64, stale bool) (string, *modelItem) {
	it := m.find(key)
	switch {
	case it == nil && command == "cas":
		return "NOT_FOUND", nil
	case it == nil && (command == "replace" || command == "append" || command == "prepend"), it != nil && command == "add":
		return "NOT_STORED", nil
	case it == nil:
		return "STORED", m.put(key, value, flags, expires)
	}
	switch old := *it; command {
	case "cas":
		late := stale && cas != 0 && cas < old.cas
		if (cas == 0 || cas != old.cas) && !late {
			return "EXISTS", nil
		}
		it = m.put(key, value, flags, expires)
		if late {
			it.expires, it.stale, it.won = old.expires, true, old.won
		}
		return "STORED", it
	case "append", "prepend":
		if cas != 0 && cas != old.cas {
			return "EXISTS", nil
		}
		if command == "append" {
			value = old.value + value
		} else {
			value += old.value
		}
		return "STORED", m.put(key, value, old.flags, old.expires)
	}
	return "STORED", m.put(key, value, flags, expires)
}

// number parses a value as a number, which ends at the first space.
func number(value string) (uint64, bool) {
	digits, _, _ := strings.Cut(value, " ")
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// sum executes an incr or decr, and returns the number and the outcome.
func (m *model) sum(key string, up bool, delta, cas uint64) (n uint64, what string) {
	it := m.find(key)
	if it == nil {
		return 0, "NOT_FOUND"
	}
	n, ok := number(it.value)
	switch {
	case it.value != "" && cas != 0 && cas != it.cas:
		return 0, "EXISTS"
	case !ok:
		return 0, "NOT_A_NUMBER"
	case up:
		n += delta
	default:
		n -= min(n, delta)
	}
	text := strconv.FormatUint(n, 10)
	if len(text) > len(it.value) {
		old := *it
		fresh := m.put(key, text, old.flags, old.expires)
		fresh.stale, fresh.won = old.stale, old.won
		return n, "OK"
	}
	it.value = text + strings.Repeat(" ", len(it.value)-len(text))
	it.cas = m.nextCAS()
	return n, "OK"
}

// touch changes the expiry time of an item.
func (m *model) touch(key string, expires int64) *modelItem {
	it := m.find(key)
	if it == nil {
		return nil
	}
	seen := *it
	it.expires = expires
	return &seen
}

// remove removes an item. cas 0 matches any item.
func (m *model) remove(key string, cas uint64) string {
	it := m.find(key)
	switch {
	case it == nil:
		return "NOT_FOUND"
	case cas != 0 && cas != it.cas:
		return "EXISTS"
	}
	delete(m.items, key)
	return "DELETED"
}

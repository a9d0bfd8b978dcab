package memcache

import (
	"fmt"
	"strings"
)

// A dice takes decisions from bytes. At their end all decisions are 0.
type dice struct{ bytes []byte }

// roll returns a number below n.
func (d *dice) roll(n int) int {
	if len(d.bytes) == 0 {
		return 0
	}
	b := int(d.bytes[0])
	d.bytes = d.bytes[1:]
	return b % n
}

func pick[T any](d *dice, from ...T) T { return from[d.roll(len(from))] }

func (d *dice) key() string { return pick(d, "a", "b", "key") }

func (d *dice) value() string {
	return pick(d, "1", "", "41", "x", "18446744073709551615", strings.Repeat("v", 9000), strings.Repeat("w", 20_000),
		"7"+strings.Repeat(" ", 20_000))
}

// exptime draws an exptime: none, past, the next seconds, the largest relative one, dates.
func (d *dice) exptime(now int64) int64 {
	return pick(d, 0, -1, 1, 2, 3, 100, 30*24*60*60, now, now+1, now+2, now-10, now-100, 1_000_000_000, 30*24*60*60+1)
}

// ours draws a unique number, which may be the item's.
func (d *dice) ours(m *model, key string) uint64 {
	cas := uint64(1)
	if it := m.items[key]; it != nil {
		cas = it.cas
	}
	return pick(d, cas, cas-1, cas+1, 999)
}

// textCommand draws a command of the text protocol and returns it with the answer of memcached.
func textCommand(d *dice, m *model) (input, want string) {
	key, noreply := d.key(), pick(d, "", "", " noreply")
	command := pick(d, "set", "add", "replace", "append", "prepend", "cas", "get", "gets", "gat", "gats", "incr", "decr", "touch", "delete",
		"flush_all")
	var answer string
	switch command {
	case "set", "add", "replace", "append", "prepend", "cas":
		value, flags, exptime := d.value(), uint32(d.roll(2)), d.exptime(m.now)
		input = fmt.Sprintf("%s %s %d %d %d", command, key, flags, exptime, len(value))
		cas := uint64(0)
		if command == "cas" {
			cas = d.ours(m, key)
			input += fmt.Sprintf(" %d", cas)
		}
		input += noreply + "\r\n" + value
		answer, _ = m.store(command, key, value, flags, m.when(exptime), cas, false)
	case "get", "gets", "gat", "gats":
		return textGet(d, m, command, key)
	case "incr", "decr":
		delta := pick[uint64](d, 1, 0, 100, 1<<63)
		input = fmt.Sprintf("%s %s %d%s", command, key, delta, noreply)
		n, what := m.sum(key, command == "incr", delta, 0)
		switch answer = what; what {
		case "OK":
			answer = fmt.Sprint(n)
		case "NOT_A_NUMBER":
			answer = notNumeric
		}
	case "touch":
		exptime := d.exptime(m.now)
		input = fmt.Sprintf("touch %s %d%s", key, exptime, noreply)
		if answer = "TOUCHED"; m.touch(key, m.when(exptime)) == nil {
			answer = "NOT_FOUND"
		}
	case "delete":
		input = "delete " + key + noreply
		answer = m.remove(key, 0)
	default:
		exptime := d.exptime(m.now)
		input = fmt.Sprintf("flush_all %d%s", exptime, noreply)
		m.flush(exptime)
		answer = "OK"
	}
	if noreply != "" {
		return input + "\r\n", ""
	}
	return input + "\r\n", answer + "\r\n"
}

func textGet(d *dice, m *model, command, key string) (input, want string) {
	keys := []string{key, d.key()}
	input = command
	exptime := int64(0)
	if command == "gat" || command == "gats" {
		exptime = d.exptime(m.now)
		input += fmt.Sprint(" ", exptime)
	}
	for _, key := range keys {
		input += " " + key
		it := m.find(key)
		if it == nil {
			continue
		}
		want += fmt.Sprintf("VALUE %s %d %d", key, it.flags, len(it.value))
		if command == "gets" || command == "gats" {
			want += fmt.Sprint(" ", it.cas)
		}
		want += "\r\n" + it.value + "\r\n"
		if command == "gat" || command == "gats" {
			it.expires = m.when(exptime)
		}
	}
	return input + "\r\n", want + "END\r\n"
}

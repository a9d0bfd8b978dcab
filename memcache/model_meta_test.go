package memcache

import (
	"fmt"
	"slices"
	"strings"
)

// metaCommand draws a meta command and returns it with the answer of memcached.
func metaCommand(d *dice, m *model) (input, want string) {
	switch key := d.key(); d.roll(5) {
	case 0:
		return metaGetModel(d, m, key)
	case 1:
		return metaSetModel(d, m, key)
	case 2:
		return metaDeleteModel(d, m, key)
	case 3:
		return metaArithModel(d, m, key)
	}
	return "mn\r\n", "MN\r\n"
}

// flagsOf draws some of the flags, each with its token.
func flagsOf(d *dice, all ...string) (some []string) {
	for _, f := range all {
		if d.roll(3) == 0 {
			some = append(some, f)
		}
	}
	return some
}

// has reports whether one of the flags begins with f.
func has(flags []string, f string) bool {
	return slices.ContainsFunc(flags, func(one string) bool { return strings.HasPrefix(one, f) })
}

// shown returns the answer to the flags of a command that has found or stored the item.
func (m *model) shown(key string, it *modelItem, flags []string, which string) (out string) {
	for _, f := range flags {
		if !strings.Contains(which, f[:1]) {
			continue
		}
		switch f[0] {
		case 'c':
			out += fmt.Sprint(" c", it.cas)
		case 's':
			out += fmt.Sprint(" s", len(it.value))
		case 'f':
			out += fmt.Sprint(" f", it.flags)
		case 'k':
			out += " k" + key
		case 'O':
			out += " " + f
		case 't':
			if it.expires == 0 {
				out += " t-1"
			} else {
				out += fmt.Sprint(" t", max(0, it.expires-m.now))
			}
		}
	}
	return out
}

func metaGetModel(d *dice, m *model, key string) (input, want string) {
	vivify, ttl, recache := d.exptime(m.now), d.exptime(m.now), int64(pick(d, 5, 30, 1000))
	flags := flagsOf(d, "s", "c", "k", "Oxyz", "f", "v", "q", fmt.Sprint("N", vivify), fmt.Sprint("T", ttl), fmt.Sprint("R", recache), "t")
	input = strings.Join(append([]string{"mg " + key}, flags...), " ") + "\r\n"
	it, created := m.find(key), false
	if it == nil && has(flags, "N") {
		it, created = m.put(key, "", 0, 0), true
	}
	if it == nil {
		if has(flags, "q") {
			return input, ""
		}
		return input, "EN" + m.shown(key, nil, flags, "kO") + "\r\n"
	}
	want = "HD"
	if has(flags, "v") {
		want = fmt.Sprint("VA ", len(it.value))
	}
	won := created
	for _, f := range flags {
		switch f[0] {
		case 'N':
			if created {
				it.expires = m.when(vivify)
			}
		case 'T':
			it.expires = m.when(ttl)
		case 'R':
			won = won || !it.won && !created && it.expires != 0 && it.expires < m.now+recache
		default:
			want += m.shown(key, it, []string{f}, "sckOft")
		}
	}
	if it.won {
		want += " Z"
	}
	if it.stale {
		want += " X"
		won = won || !it.won
	}
	if won {
		want += " W"
		it.won = true
	}
	if want += "\r\n"; has(flags, "v") {
		want += it.value + "\r\n"
	}
	return input, want
}

func metaSetModel(d *dice, m *model, key string) (input, want string) {
	value, ttl := d.value(), int64(0)
	modes := map[string]string{"": "set", " MS": "set", " ME": "add", " MR": "replace", " MA": "append", " MP": "prepend"}
	mode := pick(d, "", "", " MS", " ME", " MR", " MA", " MP")
	command := modes[mode]
	flags := flagsOf(d, "c", "k", "Oabc", "F7", "q", "I")
	input = strings.Join(append([]string{fmt.Sprintf("ms %s %d", key, len(value))}, flags...), " ")
	clientFlags := map[bool]uint32{true: 7}[has(flags, "F")]
	quiet, stale := has(flags, "q"), has(flags, "I")
	if d.roll(2) == 0 {
		ttl = d.exptime(m.now)
		input += fmt.Sprint(" T", ttl)
	}
	cas := uint64(0)
	if d.roll(3) == 0 {
		cas = d.ours(m, key)
		input += fmt.Sprint(" C", cas)
		if command == "set" || command == "replace" {
			command = "cas"
		}
	}
	what, it := m.store(command, key, value, clientFlags, m.when(ttl), cas, stale)
	input += mode + "\r\n" + value + "\r\n"
	if what == "STORED" && quiet {
		return input, ""
	}
	if it == nil {
		it = &modelItem{} // whose unique number is answered as 0
	}
	short := map[string]string{"STORED": "HD", "NOT_STORED": "NS", "EXISTS": "EX", "NOT_FOUND": "NF"}[what]
	return input, short + m.shown(key, it, flags, "ckO") + "\r\n"
}

func metaDeleteModel(d *dice, m *model, key string) (input, want string) {
	flags := flagsOf(d, "k", "Oabc", "q", "I")
	input = strings.Join(append([]string{"md " + key}, flags...), " ")
	stale, quiet := has(flags, "I"), has(flags, "q")
	ttl, hasTTL := d.exptime(m.now), d.roll(2) == 0
	if hasTTL {
		input += fmt.Sprint(" T", ttl)
	}
	it, what := m.find(key), "HD"
	cas, hasCAS := d.ours(m, key), d.roll(4) == 0
	if hasCAS {
		input += fmt.Sprint(" C", cas)
	}
	switch {
	case it == nil:
		what = "NF"
	case hasCAS && cas != it.cas:
		what = "EX"
	case stale:
		it.stale, it.won, it.cas = true, false, m.nextCAS()
		if hasTTL {
			it.expires = m.when(ttl)
		}
	default:
		delete(m.items, key)
	}
	if input += "\r\n"; what == "HD" && quiet {
		return input, ""
	}
	return input, what + m.shown(key, nil, flags, "kO") + "\r\n"
}

func metaArithModel(d *dice, m *model, key string) (input, want string) {
	vivify, ttl, initial, delta := d.exptime(m.now), d.exptime(m.now), uint64(d.roll(20)), uint64(d.roll(50))
	flags := flagsOf(d, "c", "k", "Oabc", "v", "q", fmt.Sprint("N", vivify), fmt.Sprint("T", ttl), fmt.Sprint("J", initial),
		fmt.Sprint("D", delta), "MD", "t")
	input = strings.Join(append([]string{"ma " + key}, flags...), " ")
	if !has(flags, "D") {
		delta = 1
	}
	if !has(flags, "J") {
		initial = 0
	}
	cas := uint64(0)
	if d.roll(4) == 0 {
		cas = d.ours(m, key)
		input += fmt.Sprint(" C", cas)
	}
	n, what := m.sum(key, !has(flags, "MD"), delta, cas)
	created := false
	if what == "NOT_FOUND" && has(flags, "N") {
		n, what, created = initial, "OK", true
		m.put(key, fmt.Sprint(n), 0, 0)
	}
	input += "\r\n"
	switch what {
	case "NOT_A_NUMBER":
		return input, notNumeric + "\r\n"
	case "NOT_FOUND", "EXISTS":
		return input, map[string]string{"NOT_FOUND": "NF", "EXISTS": "EX"}[what] + m.shown(key, nil, flags, "kO") + "\r\n"
	}
	it, number := m.items[key], fmt.Sprint(n)
	if want = "HD"; has(flags, "v") {
		want = fmt.Sprint("VA ", len(number))
	}
	for _, f := range flags {
		switch f[0] {
		case 'N':
			if created {
				it.expires = m.when(vivify)
			}
		case 'T':
			it.expires = m.when(ttl)
		default:
			want += m.shown(key, it, []string{f}, "cktO")
		}
	}
	if want += "\r\n"; has(flags, "v") {
		want += number + "\r\n"
	}
	if has(flags, "q") && !created {
		want = ""
	}
	return input, want
}

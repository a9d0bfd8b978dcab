package difftest

import (
	"fmt"
	"slices"
	"strings"
)

// A commander writes the commands of a piece.
type commander struct {
	*Generator
	counts bool // where others read, it counts: a piece does not do both
}

// The keys. Some have words as values and some numbers, and each is also written in base64.
var (
	wordKeys   = []string{"a", "b", "c"}
	numberKeys = []string{"n", "m"}
	encoded    = map[string]string{"a": "YQ==", "b": "Yg==", "c": "Yw==", "n": "bg==", "m": "bQ=="}
)

func (c commander) anyKey() string {
	if c.one(3) {
		return c.pick(numberKeys...)
	}
	return c.pick(wordKeys...)
}

// value returns a value for the key.
func (c commander) value(key string) string {
	if slices.Contains(numberKeys, key) {
		return c.pick("0", "1", "9", "10", "99", "100", "18446744073709551615", "18446744073709551616", "x", " 12", "007", `5\x20`,
			"", "1 2", `\(1*40)`)
	}
	return c.pick("", "v", "hello", `a\r\nb`, `\x00\xff`, "two words", `\(x*300)`, `\(yes\n*2500)`, `END\r\n`)
}

// length returns the length of a quoted value.
func length(value string) int {
	p, err := Unquote(value, nothingToResolve)
	if err != nil {
		panic(err) // the generator's own text
	}
	return len(p)
}

func lines(texts ...string) (all []Line) {
	for _, text := range texts {
		all = append(all, Line{Text, text})
	}
	return all
}

// Arguments of commands, mostly valid. A flag that is listed twice is used more often; in a command, two flags of a kind are an error.
var (
	flagsOfGet    = strings.Fields("v f v s v t k c h l q u O1 Oabc O1234567890123456789012345678901 T0 T100 N70 N0 R50 R85 R500 Z Tx S1")
	flagsOfSet    = strings.Fields("F7 F0 T100 T0 T-1 c k q O3 I MS ME MA MP MR MX C{recent} C1000000001 Fx N70 S1 b1 E5")
	flagsOfDelete = strings.Fields("q I T70 I k O7 C{recent} C1000000001 Z v")
	flagsOfCount  = strings.Fields("v t v c k q O5 N0 N70 J13 D5 D18446744073709551615 MI MD MX T100 C{recent} Dx")
	exptimes      = strings.Fields("0 0 0 100 -1 x 2592000 2592001 2147483647 99999999999")
	deltas        = strings.Fields("0 1 5 91 18446744073709551615 -1 x")
	plain         = []string{"mn", "version", "verbosity 0", "verbosity 0 noreply", "flush_all", "flush_all 0", "flush_all noreply"}
	broken        = []string{
		"", " ", "foo", "get", "gets ", "set", "set a", "set a 0 0", "cas a 0 0 1", "delete", "incr n", "touch a", "mg", "ms a", "me", `\x00`,
		"GET a", "set a 0 0 -1", "ms a x", "quit", "gat 0", "a b c d e f g h i j k l m n o p q r s t u v w x y z",
		"get" + strings.Repeat(" a b c", 10),
	}
)

// text returns a command of the text protocol.
func (c commander) text() []Line {
	switch c.r.IntN(16) {
	case 0, 1, 2:
		return c.textStore()
	case 3:
		return c.metaStore()
	case 4, 5, 6:
		if c.counts {
			return lines(c.pick("incr", "decr") + " " + c.anyKey() + " " + c.pick(deltas...) + c.noreply())
		}
		return lines(c.pick("get", "gets", "get", "gat 0", "gats 100", "gat -1", "gat x") + " " + c.keys())
	case 7, 8, 9:
		if c.counts {
			return lines("ma " + c.metaKey(c.anyKey()) + c.flags(flagsOfCount))
		}
		return lines("mg " + c.metaKey(c.anyKey()) + c.flags(flagsOfGet))
	case 10:
		return lines("md " + c.metaKey(c.anyKey()) + c.flags(flagsOfDelete))
	case 11:
		return lines("delete " + c.anyKey() + c.pick("", "", "", " noreply", " 0", " 1"))
	case 12:
		return lines("touch " + c.anyKey() + " " + c.pick("0", "100", "-1", "x") + c.noreply())
	case 13:
		return lines("me " + c.anyKey())
	case 14:
		return lines(c.pick(plain...))
	default:
		return lines(c.pick(broken...))
	}
}

func (c commander) noreply() string { return c.pick("", "", "", " noreply") }

// keys returns one key or a few.
func (c commander) keys() string {
	keys := []string{c.anyKey()}
	for c.one(2) {
		keys = append(keys, c.pick(c.anyKey(), "missing"))
	}
	return strings.Join(keys, " ")
}

// textStore returns a command with a value, sometimes with a wrong length.
func (c commander) textStore() []Line {
	key := c.anyKey()
	value := c.value(key)
	n := length(value)
	if c.one(20) {
		n += c.r.IntN(5) - 2
	}
	command := c.pick("set", "set", "set", "add", "replace", "append", "prepend", "cas")
	line := fmt.Sprintf("%s %s %s %s %d", command, key, c.pick("0", "7", "4294967295", "0", "x"), c.pick(exptimes...), n)
	if command == "cas" {
		line += " " + c.pick("{recent}", "{recent}", "1000000001", "x")
	}
	return lines(line+c.noreply(), value)
}

func (c commander) metaStore() []Line {
	key := c.anyKey()
	value := c.value(key)
	n := length(value)
	if c.one(20) {
		n++
	}
	return lines(fmt.Sprintf("ms %s %d%s", c.metaKey(key), n, c.flags(flagsOfSet)), value)
}

// metaKey returns the key, sometimes in base64. Whether the server decodes it depends on the flags.
func (c commander) metaKey(key string) string {
	switch c.r.IntN(16) {
	case 0, 1:
		return encoded[key]
	case 2:
		return "c3AgYWNl" // a key with a space, which only base64 and the binary protocol can say
	}
	return key
}

// flags returns a few flags, and rarely b, which changes the meaning of the key.
func (c commander) flags(from []string) string {
	var b strings.Builder
	for range c.r.IntN(5) {
		b.WriteString(" " + c.pick(from...))
	}
	if c.one(8) {
		b.WriteString(" b")
	}
	return b.String()
}

package protocol

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// Numbers are parsed as by strtoul and its relatives in C, which memcached uses: white space may precede and follow a number, a sign may
// precede it, and a number of 32 bits is the lower half of one of 64 bits.

// parseUint parses an unsigned number of 64 bits.
func parseUint(p []byte) (uint64, bool) {
	n, negative, ok := digits(p)
	if negative {
		n = -n
	}
	return n, ok && (!negative || int64(n) >= 0)
}

// parseUint32 parses an unsigned number of 32 bits.
func parseUint32(p []byte) (uint32, bool) {
	n, ok := parseUint(p)
	return uint32(n), ok
}

// parseInt32 parses a number of 32 bits.
func parseInt32(p []byte) (int32, bool) {
	n, negative, ok := digits(p)
	if negative {
		return int32(-int64(n)), ok && n <= -math.MinInt64
	}
	return int32(n), ok && n <= math.MaxInt64
}

// digits parses a sign and digits.
func digits(p []byte) (n uint64, negative, ok bool) {
	for len(p) > 0 && isSpace(p[0]) {
		p = p[1:]
	}
	if len(p) > 0 && (p[0] == '-' || p[0] == '+') {
		negative = p[0] == '-'
		p = p[1:]
	}
	for i, c := range p {
		d := c - '0'
		if d > 9 {
			return n, negative, i > 0 && (isSpace(c) || c == 0)
		}
		if n > (math.MaxUint64-uint64(d))/10 {
			return 0, negative, false
		}
		n = n*10 + uint64(d)
	}
	return n, negative, len(p) > 0
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// ParseNumber parses an item's value as incr and decr do.
func ParseNumber(value []byte) (uint64, bool) { return parseUint(value) }

// ParseUint32 parses a word as an unsigned number of 32 bits.
func ParseUint32(word []byte) (n uint32, ok bool) { return parseUint32(word) }

// ParseInt32 parses a word as a signed number of 32 bits.
func ParseInt32(word []byte) (n int32, ok bool) { return parseInt32(word) }

// ParseDecimal parses a word as C's strtod does: a decimal or hexadecimal number, "inf" or "nan". ok is false for a number out of range.
func ParseDecimal(word []byte) (n float64, ok bool) {
	word = bytes.TrimLeftFunc(word, func(c rune) bool { return c < 0x80 && isSpace(byte(c)) })
	if i := bytes.IndexFunc(word, func(c rune) bool { return c < 0x80 && isSpace(byte(c)) }); i >= 0 {
		word = word[:i]
	}
	text := strings.ToLower(string(word))
	if strings.Contains(text, "_") { // allowed by Go only
		return 0, false
	}
	if strings.Contains(text, "0x") && !strings.Contains(text, "p") { // Go requires an exponent
		text += "p0"
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil
}

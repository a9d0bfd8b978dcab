package difftest

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrQuote means that a quoted text is invalid.
var ErrQuote = errors.New("difftest: bad quoting")

// longRun is the least number of equal bytes that are written as \(x*24).
const longRun = 24

// Quote makes bytes readable. Printable characters stand for themselves; \r, \n, \t, \\, \{, \} and \x00 for the others; \(x*250) is a
// byte that comes 250 times. A space at the end is \x20, so that it can be seen.
func Quote(p []byte) string {
	var b strings.Builder
	for len(p) > 0 {
		run := 1
		for run < len(p) && p[run] == p[0] {
			run++
		}
		switch {
		case run >= longRun:
			one := quoteByte(p[0])
			if p[0] == ')' { // the first one ends the run
				one = `\x29`
			}
			fmt.Fprintf(&b, `\(%s*%d)`, one, run)
			p = p[run:]
		case len(p) == 1 && p[0] == ' ':
			b.WriteString(`\x20`)
			p = nil
		default:
			b.WriteString(quoteByte(p[0]))
			p = p[1:]
		}
	}
	return b.String()
}

func quoteByte(c byte) string {
	switch {
	case c == '\r':
		return `\r`
	case c == '\n':
		return `\n`
	case c == '\t':
		return `\t`
	case c == '\\' || c == '{' || c == '}':
		return `\` + string(c)
	case c < ' ' || c > '~':
		return fmt.Sprintf(`\x%02x`, c)
	}
	return string(c)
}

// Unquote is the reverse of Quote. A mark in braces is replaced by the result of resolve.
func Unquote(s string, resolve func(mark string) (string, error)) ([]byte, error) {
	var p []byte
	for s != "" {
		switch s[0] {
		case '{':
			mark, rest, ok := strings.Cut(s[1:], "}")
			if !ok {
				return nil, fmt.Errorf("%w: %q has no end", ErrQuote, s)
			}
			value, err := resolve(mark)
			if err != nil {
				return nil, err
			}
			p, s = append(p, value...), rest
		case '\\':
			var err error
			if p, s, err = unquoteEscape(p, s); err != nil {
				return nil, err
			}
		default:
			p, s = append(p, s[0]), s[1:]
		}
	}
	return p, nil
}

// unquoteEscape appends the bytes for the escape sequence at the beginning of s.
func unquoteEscape(p []byte, s string) ([]byte, string, error) {
	bad := func() ([]byte, string, error) { return nil, "", fmt.Errorf("%w: %q", ErrQuote, s) }
	if len(s) < 2 {
		return bad()
	}
	switch s[1] {
	case 'r':
		return append(p, '\r'), s[2:], nil
	case 'n':
		return append(p, '\n'), s[2:], nil
	case 't':
		return append(p, '\t'), s[2:], nil
	case '\\', '{', '}':
		return append(p, s[1]), s[2:], nil
	case 'x':
		if len(s) < 4 {
			return bad()
		}
		c, err := strconv.ParseUint(s[2:4], 16, 8)
		if err != nil {
			return bad()
		}
		return append(p, byte(c)), s[4:], nil
	case '(':
		inner, rest, _ := strings.Cut(s[2:], ")")
		star := strings.LastIndexByte(inner, '*')
		if star < 0 {
			return bad()
		}
		n, err := strconv.Atoi(inner[star+1:])
		if err != nil || n < 0 || n > 64<<20 {
			return bad()
		}
		one, err := Unquote(inner[:star], nothingToResolve)
		if err != nil {
			return nil, "", err
		}
		return append(p, bytes.Repeat(one, n)...), rest, nil
	}
	return bad()
}

func nothingToResolve(mark string) (string, error) {
	return "", fmt.Errorf("%w: {%s} is not allowed here", ErrQuote, mark)
}

// quoteLine quotes a line of an answer, without \r\n at its end. Another end is quoted.
func quoteLine(p []byte) string {
	switch {
	case bytes.HasSuffix(p, []byte("\r\n")):
		return Quote(p[:len(p)-2])
	case bytes.HasSuffix(p, []byte("\n")):
		return Quote(p)
	}
	return Quote(p) + `\c`
}

// unquoteLine is the reverse of quoteLine.
func unquoteLine(s string, resolve func(mark string) (string, error)) ([]byte, error) {
	if text, ok := strings.CutSuffix(s, `\c`); ok {
		return Unquote(text, resolve)
	}
	p, err := Unquote(s, resolve)
	if err == nil && !strings.HasSuffix(s, `\n`) {
		p = append(p, "\r\n"...)
	}
	return p, err
}

package difftest

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// chosen is the least unique number that a script chooses. The numbers that servers choose are lower.
const chosen = 1_000_000_000

// Marks in answers without corresponding bytes.
const (
	Closed  = "{closed}"  // the server has closed the connection
	Missing = "{missing}" // an expected answer has not arrived
)

// Canon converts answers to a canonical form for comparison: lines, quoted as by [Quote], with marks for parts that are not determined. It keeps
// the unique numbers of one server from one answer to the next.
type Canon struct {
	names  map[string]string // by number
	values map[string]string // by name
}

// never is the time in the answer to me for an item that does not expire. The time until an item expires is negative, too.
const never = "exp=-1"

// NewCanon returns a Canon without unique numbers.
func NewCanon() *Canon {
	return &Canon{names: map[string]string{}, values: map[string]string{}}
}

// resolve returns the number that a mark stands for.
func (c *Canon) resolve(mark string) (string, error) {
	value, ok := c.values[mark]
	if !ok {
		return "", fmt.Errorf("%w: {%s} has not occurred in an answer", ErrQuote, mark)
	}
	return value, nil
}

// cas returns the mark of a unique number.
func (c *Canon) cas(number string) string {
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || n == 0 || n >= chosen {
		return Quote([]byte(number))
	}
	name, ok := c.names[number]
	if !ok {
		name = fmt.Sprintf("cas%d", len(c.names)+1)
		c.names[number], c.values[name] = name, number
	}
	return "{" + name + "}"
}

// Lines returns the canonical form of an answer of either protocol.
func (c *Canon) Lines(answer []byte, isBinary bool) []string {
	if isBinary {
		return c.frames(answer)
	}
	return c.text(answer)
}

// count returns the number of lines or frames of an answer.
func count(answer []byte, isBinary bool) (n int) {
	if !isBinary {
		return bytes.Count(answer, []byte("\n"))
	}
	for {
		_, taken := DecodeFrame(answer)
		if taken == 0 {
			return n
		}
		answer = answer[taken:]
		n++
	}
}

func (c *Canon) frames(answer []byte) (lines []string) {
	for {
		f, taken := DecodeFrame(answer)
		if taken == 0 {
			break
		}
		answer = answer[taken:]
		end := ""
		if opName(f.Op) == "version" && len(f.Value) > 0 && f.Status == 0 {
			f.Value, end = nil, " value={*}"
		}
		lines = append(lines, f.describe(c.cas(strconv.FormatUint(f.CAS, 10)))+end)
	}
	if len(answer) > 0 {
		lines = append(lines, fmt.Sprintf("half a frame: %x", answer))
	}
	return lines
}

func (c *Canon) text(answer []byte) (lines []string) {
	for len(answer) > 0 {
		line, rest := cutLine(answer)
		canonical, value := c.line(line)
		lines, answer = append(lines, canonical), rest
		for value > 0 && len(answer) > 0 { // a value's lines mean nothing
			line, rest := cutLine(answer)
			lines, answer = append(lines, quoteLine(line)), rest
			value -= len(line)
		}
	}
	return lines
}

// cutLine divides p after its first end of line.
func cutLine(p []byte) (line, rest []byte) {
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		return p[:i+1], p[i+1:]
	}
	return p, nil
}

// line returns the canonical form of a line that is not a value, and the number of bytes of the value after it.
func (c *Canon) line(line []byte) (canonical string, value int) {
	if dumped, ok := strings.CutSuffix(string(line), "\n"); ok && strings.HasPrefix(dumped, "key=") {
		return c.dumped(strings.Split(dumped, " ")), 0
	}
	text, ended := strings.CutSuffix(string(line), "\r\n")
	words := strings.Split(text, " ")
	if !ended {
		return quoteLine(line), 0
	}
	size := func(i int) int {
		if n, err := strconv.Atoi(words[i]); err == nil && n >= 0 {
			return n + len("\r\n")
		}
		return 0
	}
	first := len(words) // the first word that may be undetermined
	switch words[0] {
	case "VERSION":
		return "VERSION {*}", 0
	case "VALUE":
		if len(words) == 4 || len(words) == 5 {
			value = size(3)
		}
		if len(words) == 5 {
			return quoteWords(words[:4]) + " " + c.cas(words[4]), value
		}
	case "VA":
		if len(words) > 1 {
			value, first = size(1), 2
		}
	case "HD", "EN", "NF", "NS", "EX", "MN", "ME":
		first = 1
	}
	canonical = quoteWords(words[:first])
	for _, word := range words[first:] {
		canonical += " " + c.flag(word)
	}
	if cut, ok := strings.CutSuffix(canonical, " "); ok { // a space at the end is seen
		canonical = cut + `\x20`
	}
	return canonical, value
}

// dumped returns the canonical form of an item in a dump, whose lines have no \r. Its times are times of day.
func (c *Canon) dumped(words []string) string {
	for i, word := range words {
		name, value, _ := strings.Cut(word, "=")
		if (name == "exp" || name == "la") && value != "-1" {
			words[i] = name + "={*}"
		} else {
			words[i] = c.flag(word)
		}
	}
	return strings.Join(words, " ") + `\n`
}

func quoteWords(words []string) string { return Quote([]byte(strings.Join(words, " "))) }

// flag returns the canonical form of a flag in a meta answer, or of a field in the answer to me.
func (c *Canon) flag(word string) string {
	for _, prefix := range []string{"c", "cas="} {
		if n, ok := strings.CutPrefix(word, prefix); ok && isNumber(n) {
			return prefix + c.cas(n)
		}
	}
	for _, prefix := range []string{"t", "l", "exp=", "exp=-", "la="} {
		if n, ok := strings.CutPrefix(word, prefix); ok && isNumber(n) && word != never {
			return prefix + "{~" + n + "}"
		}
	}
	for _, prefix := range []string{"cls=", "size="} {
		if n, ok := strings.CutPrefix(word, prefix); ok && isNumber(n) {
			return prefix + "{*}"
		}
	}
	return Quote([]byte(word))
}

// isNumber reports whether s is decimal digits, as the servers write them.
func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil && s[0] != '+' && (len(s) == 1 || s[0] != '0')
}

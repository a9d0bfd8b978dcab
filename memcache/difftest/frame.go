package difftest

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrFrame means that the text of a frame is invalid.
var ErrFrame = errors.New("difftest: bad frame")

// headerSize is the length of every frame's header.
const headerSize = 24

// Magic numbers of the binary protocol, for the directions of frames.
const (
	RequestMagic  = 0x80
	ResponseMagic = 0x81
)

// ops are the names of the binary protocol's operations, by number.
var ops = []string{
	"get", "set", "add", "replace", "delete", "increment", "decrement", "quit", "flush", "getq", "noop", "version", "getk", "getkq",
	"append", "prepend", "stat", "setq", "addq", "replaceq", "deleteq", "incrementq", "decrementq", "quitq", "flushq", "appendq",
	"prependq", "verbosity", "touch", "gat", "gatq", "op1f", "saslmechs", "saslauth", "saslstep", "gatk", "gatkq",
}

// opName returns an operation's name, or op and its number.
func opName(op byte) string {
	if int(op) < len(ops) {
		return ops[op]
	}
	return fmt.Sprintf("op%02x", op)
}

// A Frame is a request or a response of the binary protocol. The lengths are those of Key, Extras and Value, unless Lengths has other ones.
type Frame struct {
	Magic, Op          byte
	Type               byte
	Status             uint16 // a request's vbucket
	Opaque             uint32
	CAS                uint64
	Extras, Key, Value []byte
	Lengths            map[string]int // keylen, extlen, bodylen
}

// ParseFrame reads a frame's text: the operation's name, or op and its number in hexadecimal, and fields: key (quoted, without
// spaces), extras, opaque, status, type and magic (hexadecimal), cas, keylen, extlen and bodylen (decimal), and value (quoted),
// which comes last.
func ParseFrame(text string, resolve func(mark string) (string, error)) (Frame, error) {
	name, rest, _ := strings.Cut(text, " ")
	f := Frame{Magic: RequestMagic, Lengths: map[string]int{}}
	if i := slices.Index(ops, name); i >= 0 {
		f.Op = byte(i)
	} else if n, err := strconv.ParseUint(strings.TrimPrefix(name, "op"), 16, 8); err == nil {
		f.Op = byte(n)
	} else {
		return f, fmt.Errorf("%w: %q is not an operation", ErrFrame, name)
	}
	for rest != "" {
		var field string
		if field = rest; strings.HasPrefix(rest, "value=") {
			rest = ""
		} else {
			field, rest, _ = strings.Cut(rest, " ")
		}
		name, value, _ := strings.Cut(field, "=")
		if err := f.set(name, value, resolve); err != nil {
			return f, fmt.Errorf("%w: %q: %w", ErrFrame, field, err)
		}
	}
	return f, nil
}

func (f *Frame) set(name, text string, resolve func(mark string) (string, error)) (err error) {
	switch name {
	case "key", "value", "cas":
		p, err := Unquote(text, resolve)
		if err != nil {
			return err
		}
		switch name {
		case "key":
			f.Key = p
		case "value":
			f.Value = p
		case "cas":
			f.CAS, err = strconv.ParseUint(string(p), 10, 64)
		}
		return err
	case "extras":
		f.Extras, err = hex.DecodeString(text)
		return err
	case "keylen", "extlen", "bodylen":
		f.Lengths[name], err = strconv.Atoi(text)
		return err
	}
	n, err := strconv.ParseUint(text, 16, 32)
	switch name {
	case "opaque":
		f.Opaque = uint32(n)
	case "status":
		f.Status = uint16(n)
	case "type":
		f.Type = byte(n)
	case "magic":
		f.Magic = byte(n)
	default:
		return errors.New("no such field")
	}
	return err
}

// Append appends the frame's bytes.
func (f Frame) Append(p []byte) []byte {
	length := func(name string, otherwise int) int {
		if n, ok := f.Lengths[name]; ok {
			return n
		}
		return otherwise
	}
	p = append(p, f.Magic, f.Op)
	p = binary.BigEndian.AppendUint16(p, uint16(length("keylen", len(f.Key))))
	p = append(p, byte(length("extlen", len(f.Extras))), f.Type)
	p = binary.BigEndian.AppendUint16(p, f.Status)
	p = binary.BigEndian.AppendUint32(p, uint32(length("bodylen", len(f.Extras)+len(f.Key)+len(f.Value))))
	p = binary.BigEndian.AppendUint32(p, f.Opaque)
	p = binary.BigEndian.AppendUint64(p, f.CAS)
	return slices.Concat(p, f.Extras, f.Key, f.Value)
}

// DecodeFrame decodes a frame at the beginning of p, and returns its length, or 0 if it is incomplete. If its lengths contradict each other, its whole
// body is the value, and Lengths has the lengths.
func DecodeFrame(p []byte) (f Frame, taken int) {
	if len(p) < headerSize {
		return f, 0
	}
	key, extras, body := int(binary.BigEndian.Uint16(p[2:])), int(p[4]), int(binary.BigEndian.Uint32(p[8:]))
	taken = headerSize + body
	if len(p) < taken {
		return f, 0
	}
	f = Frame{
		Magic: p[0], Op: p[1], Type: p[5], Status: binary.BigEndian.Uint16(p[6:]),
		Opaque: binary.BigEndian.Uint32(p[12:]), CAS: binary.BigEndian.Uint64(p[16:]),
	}
	rest := p[headerSize:taken]
	if key+extras > body {
		f.Value, f.Lengths = rest, map[string]int{"keylen": key, "extlen": extras, "bodylen": body}
		return f, taken
	}
	f.Extras, f.Key, f.Value = rest[:extras], rest[extras:extras+key], rest[extras+key:]
	return f, taken
}

// describe returns the text of a response without fields that are zero or empty. cas is the text of its unique number.
func (f Frame) describe(cas string) string {
	var b strings.Builder
	b.WriteString(opName(f.Op))
	if f.Magic != ResponseMagic {
		fmt.Fprintf(&b, " magic=%02x", f.Magic)
	}
	if f.Status != 0 {
		fmt.Fprintf(&b, " status=%x", f.Status)
	}
	if f.Type != 0 {
		fmt.Fprintf(&b, " type=%x", f.Type)
	}
	if f.Opaque != 0 {
		fmt.Fprintf(&b, " opaque=%x", f.Opaque)
	}
	if f.CAS != 0 {
		fmt.Fprintf(&b, " cas=%s", cas)
	}
	for _, name := range []string{"keylen", "extlen", "bodylen"} {
		if n, ok := f.Lengths[name]; ok {
			fmt.Fprintf(&b, " %s=%d", name, n)
		}
	}
	if len(f.Extras) > 0 {
		fmt.Fprintf(&b, " extras=%x", f.Extras)
	}
	if len(f.Key) > 0 {
		fmt.Fprintf(&b, " key=%s", strings.ReplaceAll(Quote(f.Key), " ", `\x20`))
	}
	if len(f.Value) > 0 {
		fmt.Fprintf(&b, " value=%s", Quote(f.Value))
	}
	return b.String()
}

// parseHex parses bytes in hexadecimal. There may be spaces between them.
func parseHex(s string) ([]byte, error) {
	p, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrFrame, err)
	}
	return p, err
}

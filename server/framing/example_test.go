package framing_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/evmq/evmq/server/framing"
)

// Lines, from reads that do not end with a line.
func Example() {
	f := framing.Lines{Max: 100}
	if err := framing.Check(f); err != nil {
		fmt.Println(err)
		return
	}
	var data []byte
	cursor := 0
	for _, read := range []string{"HELO a.exa", "mple\r", "\nQUIT\r\nrest"} {
		data = append(data, read...)
		for {
			r, err := f.Next(data, cursor, false)
			if err != nil {
				fmt.Println(err)
				return
			}
			data, cursor = data[r.Advance:], r.Cursor
			if r.Message != nil {
				fmt.Printf("%q\n", r.Message)
			}
			if r.Advance == 0 && r.Message == nil {
				break
			}
		}
	}
	fmt.Printf("kept %q\n", data)
	// Output:
	// "HELO a.example"
	// "QUIT"
	// kept "rest"
}

// A message that is too long is an error before it has arrived.
func ExampleLengthPrefix() {
	f := framing.LengthPrefix{Size: 4, Order: binary.BigEndian, Max: 1000}
	r, err := f.Next([]byte("\x00\x00\x00\x02hi"), 0, false)
	fmt.Printf("%q %v\n", r.Message, err)
	_, err = f.Next([]byte("\x00\x00\x40\x00"), 0, false)
	fmt.Println(err, errors.Is(err, framing.ErrTooLong))
	// Output:
	// "hi" <nil>
	// length prefix: framing: message is too long: 16384 bytes, at most 1000 true
}

// A stream that ends in the middle of a message is an error.
func ExampleDelimiter() {
	f := framing.Delimiter{Delim: []byte("\x00")}
	_, err := f.Next([]byte("half a mess"), 0, true)
	fmt.Println(err, errors.Is(err, io.ErrUnexpectedEOF))
	// Output: delimiter: unexpected EOF: 11 bytes of a message true
}

// The text that SMTP sends after DATA.
func ExampleDotTerminated() {
	sent := framing.AppendDotTerminated(nil, []byte("Subject: x\r\n\r\n.profile is attached\r\n"))
	fmt.Printf("%q\n", sent)
	r, err := framing.DotTerminated{}.Next(sent, 0, false)
	fmt.Printf("%q %v\n", framing.Unstuff(nil, r.Message), err)
	// Output:
	// "Subject: x\r\n\r\n..profile is attached\r\n.\r\n"
	// "Subject: x\r\n\r\n.profile is attached\r\n" <nil>
}

// Any bufio.SplitFunc can be used.
func ExampleSplit() {
	f := framing.Split{Func: bufio.ScanWords}
	data := []byte("  two words")
	for len(data) > 0 {
		r, err := f.Next(data, 0, true)
		fmt.Printf("%q %v\n", r.Message, err)
		data = data[r.Advance:]
	}
	// Output:
	// "two" <nil>
	// "words" <nil>
}

func ExampleAppendVarint() {
	var out []byte
	for _, s := range []string{"hi", strings.Repeat("x", 200)} {
		out = framing.AppendVarint(out, []byte(s))
	}
	fmt.Printf("% x ...\n", out[:5])
	// Output: 02 68 69 c8 01 ...
}

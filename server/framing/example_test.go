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

// Lines, from reads that do not keep to them.
func Example() {
	f := framing.Lines(100)
	if err := framing.Check(f); err != nil {
		fmt.Println(err)
		return
	}
	var data []byte
	place := 0
	for _, read := range []string{"HELO a.exa", "mple\r", "\nQUIT\r\nrest"} {
		data = append(data, read...)
		for {
			n, message, next, err := f.Next(data, place, false)
			data, place = data[n:], next
			if message != nil {
				fmt.Printf("%q\n", message)
			}
			if err != nil {
				fmt.Println(err)
				return
			}
			if n == 0 && message == nil {
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

// A message that is too long is an error before it is there.
func ExampleLengthPrefix() {
	f := framing.LengthPrefix(4, binary.BigEndian, 1000)
	_, message, _, err := f.Next([]byte("\x00\x00\x00\x02hi"), 0, false)
	fmt.Printf("%q %v\n", message, err)
	_, _, _, err = f.Next([]byte("\x00\x00\x40\x00"), 0, false)
	fmt.Println(err, errors.Is(err, framing.ErrTooLong))
	// Output:
	// "hi" <nil>
	// length prefix: framing: message is too long: 16384 bytes, at most 1000 true
}

// A stream that ends in the middle of a message was cut off.
func ExampleDelimiter() {
	f := framing.Delimiter([]byte("\x00"), 0)
	_, _, _, err := f.Next([]byte("half a mess"), 0, true)
	fmt.Println(err, errors.Is(err, io.ErrUnexpectedEOF))
	// Output: delimiter: unexpected EOF: 11 bytes of a message true
}

// What SMTP sends after DATA.
func ExampleDotTerminated() {
	sent := framing.AppendDotTerminated(nil, []byte("Subject: x\r\n\r\n.profile is attached\r\n"))
	fmt.Printf("%q\n", sent)
	_, message, _, err := framing.DotTerminated(0).Next(sent, 0, false)
	fmt.Printf("%q %v\n", framing.Unstuff(nil, message), err)
	// Output:
	// "Subject: x\r\n\r\n..profile is attached\r\n.\r\n"
	// "Subject: x\r\n\r\n.profile is attached\r\n" <nil>
}

// Any bufio.SplitFunc will do.
func ExampleSplit() {
	f := framing.Split(bufio.ScanWords, 0)
	data := []byte("  two words")
	for len(data) > 0 {
		n, message, _, err := f.Next(data, 0, true)
		fmt.Printf("%q %v\n", message, err)
		data = data[n:]
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

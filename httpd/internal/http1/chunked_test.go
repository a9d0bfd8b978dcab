package http1

import (
	"bytes"
	"errors"
	"io"
	"net/http/httputil"
	"strings"
	"testing"
)

// decode decodes a chunked body that arrives in pieces of step bytes. It returns the data and the number of bytes of the body.
func decode(input []byte, step int) (data []byte, used int, d *Chunked, err error) {
	d = new(Chunked)
	for end := min(step, len(input)); ; {
		part, n, err := d.Next(input[used:end])
		if err == io.EOF {
			return data, used, d, nil
		}
		if err != nil {
			return data, used, d, err
		}
		data = append(data, part...)
		used += n
		if n == 0 {
			if end == len(input) {
				return data, used, d, io.ErrUnexpectedEOF
			}
			end = min(end+step, len(input))
		}
	}
}

func TestChunksAreDecodedHoweverTheyArrive(t *testing.T) {
	const body = "0000000000000005\r\nhello\r\n1;a=\"b\"\r\n \r\n00005 \t; x\r\nworld\r\n0\r\nA: b\r\nTrailer: no\r\nA: c\r\n\r\n"
	const after = "GET /"
	for step := 1; step <= len(body)+len(after); step++ {
		data, used, d, err := decode([]byte(body+after), step)
		if err != nil || string(data) != "hello world" || used != len(body) {
			t.Fatalf("in pieces of %d bytes: %q, %d of %d bytes, %v", step, data, used, len(body), err)
		}
		if got := d.Trailer["A"]; len(d.Trailer) != 1 || len(got) != 2 || got[0] != "b" || got[1] != "c" {
			t.Fatalf("in pieces of %d bytes: the trailer is %q", step, d.Trailer)
		}
	}
}

func TestMalformedChunksAreRefused(t *testing.T) {
	for _, body := range []string{
		"5\nhello\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhelloX\r\n0\r\n\r\n", "5\r\nhello\rX0\r\n\r\n", "\r\n", ";\r\n", " 5\r\nhello\r\n", "5 \r\nhello\r\n", "+5\r\nhello\r\n", "0x5\r\nhello\r\n",
		"g\r\n", "1000000000000000\r\n", "00000000000000005\r\n", "5;\x00\r\nhello\r\n", "5x\r\nhello\r\n", "0\r\nA b\r\n\r\n", "0\r\nA: \x01\r\n\r\n", "0\r\n A: b\r\n\r\n", "0\r\n\n", strings.Repeat("0", maxChunkLine+1),
		strings.Repeat("1;"+strings.Repeat("x", 1000)+"\r\nx\r\n", 20) + "0\r\n\r\n", "0\r\n" + strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 100) + "\r\n",
	} {
		var refused *StatusError
		if _, _, _, err := decode([]byte(body), 1<<20); !errors.As(err, &refused) {
			t.Errorf("%.60q: %v", body, err)
		}
		if _, _, _, err := decode([]byte(body), 1); !errors.As(err, &refused) {
			t.Errorf("%.60q byte by byte: %v", body, err)
		}
	}
}

func TestChunkExtensionsFollowTheRFC(t *testing.T) {
	for extension, want := range map[string]bool{
		"": true, ";a": true, ";a=b": true, ` ; a = "b;c" ` + "\t; d": true, `;a="\"\\"`: true, ";a=\"\xff\t\"": true, ";a;b;c=1": true,
		";": false, ";;a": false, ";a=": false, ";=b": false, ";a b": false, "a": false, " ": false, ";a ": false, ";bad[=x": false, `;a="b`: false, `;a="b\`: false, `;a="b"c`: false, ";a=b=c": false,
		";a=\"\x00\"": false, ";a\r": false, ";a=\"\\\x7f\"": false, "; \x00": false,
	} {
		_, _, _, err := decode([]byte("5"+extension+"\r\nhello\r\n0\r\n\r\n"), 1<<20)
		if (err == nil) != want {
			t.Errorf("%q: %v", extension, err)
		}
	}
}

func FuzzChunked(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\n"), 1)
	f.Add([]byte("a;b\r\n0123456789\r\n000\r\nA: b\r\n\r\nrest"), 3)
	f.Fuzz(func(t *testing.T, input []byte, step int) {
		whole, n1, _, err1 := decode(input, len(input)+1)
		pieces, n2, _, err2 := decode(input, max(step, 1))
		if (err1 == nil) != (err2 == nil) || err1 == nil && (!bytes.Equal(whole, pieces) || n1 != n2) {
			t.Fatalf("at once: %q, %d, %v; in pieces of %d: %q, %d, %v", whole, n1, err1, step, pieces, n2, err2)
		}
		if err1 != nil {
			return
		}
		theirs, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(input[:n1]))) // it leaves the trailer
		if err != nil || !bytes.Equal(theirs, whole) {
			t.Fatalf("net/http decodes %q, %v, and not %q", theirs, err, whole)
		}
	})
}

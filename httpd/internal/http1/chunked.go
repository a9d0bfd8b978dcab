package http1

import (
	"bytes"
	"io"
	"net/http"
	"net/textproto"
	"strings"
)

const (
	// maxChunkLine is the largest length of the line before a chunk, and maxTrailer that of a trailer.
	maxChunkLine = 4 << 10
	maxTrailer   = 64 << 10
	// maxOverhead limits the bytes of chunk lines that exceed what reasonable chunks need, so that a client cannot send a body of one byte in
	// megabytes. It is the limit of package net/http, whose formula is used: 16 bytes and twice the data for each chunk are free.
	maxOverhead = 16 << 10
)

// chunkPart is the part of a chunked body that comes next.
type chunkPart uint8

const (
	chunkLine    chunkPart = iota // the line with the length of a chunk
	chunkData                     // the bytes of a chunk
	chunkDataEnd                  // the end of line after the bytes
	chunkTrailer                  // the trailer, up to an empty line
	chunkEnd                      // nothing
)

var chunkParts = [...]string{chunkLine: "line", chunkData: "data", chunkDataEnd: "end of data", chunkTrailer: "trailer", chunkEnd: "end"}

// String returns the part's name.
func (p chunkPart) String() string { return chunkParts[p] }

// A Chunked decodes a chunked body. The zero Chunked is at the body's beginning.
type Chunked struct {
	part     chunkPart
	left     int64 // bytes of the chunk that have not been decoded
	overhead int64
	trailer  int // bytes of the trailer
	// Trailer has the fields of the trailer that were decoded, with canonical names; nil without any. Those that MayBeTrailer refuses are
	// left out.
	Trailer http.Header
}

// Next decodes bytes at the start of p, which follow those of the calls before. It returns the number of bytes that were decoded, and the
// data among them, which is a part of p and may be empty. If n is 0 without an error, it needs more than p. After the end of the body it
// returns io.EOF.
//
// Errors: io.EOF; a *StatusError for a body that is not valid.
func (d *Chunked) Next(p []byte) (data []byte, n int, err error) {
	switch d.part {
	case chunkData:
		n = int(min(d.left, int64(len(p))))
		if d.left -= int64(n); d.left == 0 {
			d.part = chunkDataEnd
		}
		return p[:n], n, nil
	case chunkDataEnd:
		switch {
		case len(p) > 0 && p[0] != '\r' || len(p) > 1 && p[1] != '\n':
			return nil, 0, badRequest("chunk is longer than its length")
		case len(p) < 2:
			return nil, 0, nil
		}
		d.part = chunkLine
		return nil, 2, nil
	case chunkEnd:
		return nil, 0, io.EOF
	}
	line, n, err := nextLine(p)
	if n == 0 || err != nil {
		return nil, 0, err
	}
	if d.part == chunkLine {
		err = d.begin(line)
	} else {
		err = d.addTrailer(line)
	}
	return nil, n, err
}

// IsEnd reports whether all of the body was decoded.
func (d *Chunked) IsEnd() bool { return d.part == chunkEnd }

// IsData reports whether the data of a chunk comes next.
func (d *Chunked) IsData() bool { return d.part == chunkData }

// nextLine returns the line at the start of p, and its length with its end. The length is 0 if the line is incomplete.
func nextLine(p []byte) (line []byte, n int, err error) {
	i := bytes.IndexByte(p, '\n')
	switch {
	case i >= maxChunkLine || i < 0 && len(p) >= maxChunkLine:
		return nil, 0, badRequest("line of a chunked body is too long")
	case i < 0:
		return nil, 0, nil
	case i == 0 || p[i-1] != '\r':
		return nil, 0, badRequest("line feed without carriage return")
	}
	return p[:i-1], i + 1, nil
}

// begin begins the chunk with this line: its length in hexadecimal digits, and extensions, which are ignored.
func (d *Chunked) begin(line []byte) error {
	digits := 0
	d.left = 0
	for ; digits < len(line); digits++ {
		v := hexDigit(line[digits])
		if v < 0 {
			break
		}
		if digits == 16 || d.left >= 1<<56 { // so that the length fits into an int64; net/http accepts as many digits, of which the first may be zeros
			return badRequest("chunk length is too large")
		}
		d.left = d.left<<4 | int64(v)
	}
	if digits == 0 {
		return badRequest("malformed chunk length")
	}
	if !areExtensions(line[digits:]) {
		return badRequest("malformed chunk extension")
	}
	d.overhead = max(d.overhead+int64(len(line))+2-16-2*d.left, 0)
	if d.overhead > maxOverhead {
		return badRequest("chunk extensions are too long")
	}
	d.part = chunkData
	if d.left == 0 {
		d.part = chunkTrailer
	}
	return nil
}

// hexDigit returns the value of a hexadecimal digit, or -1.
func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// addTrailer adds a line of the trailer. The empty line ends the body.
func (d *Chunked) addTrailer(line []byte) error {
	if len(line) == 0 {
		d.part = chunkEnd
		return nil
	}
	if d.trailer += len(line); d.trailer > maxTrailer {
		return &StatusError{http.StatusRequestHeaderFieldsTooLarge, "trailer is too long"}
	}
	name, value, ok := strings.Cut(string(line), ":")
	value = strings.Trim(value, " \t")
	if !ok || !IsToken(name) || !consistsOf(value, valueByte) {
		return badRequest("malformed trailer")
	}
	if name = textproto.CanonicalMIMEHeaderKey(name); !MayBeTrailer(name) {
		return nil
	}
	if d.Trailer == nil {
		d.Trailer = make(http.Header)
	}
	d.Trailer[name] = append(d.Trailer[name], value)
	return nil
}

package websocket

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws/wsflate"
	"github.com/klauspost/compress/flate"
)

// Messages are compressed and decompressed without context takeover, so that a WebSocket keeps nothing between two messages; see RFC 7692. The
// compressors, which take hundreds of kilobytes, are pooled: there are as many as messages are compressed at the same time.

// maxWindow is the size of the window of package flate, as a power of 2. A peer that asks for a smaller one gets no compression.
const maxWindow = 15

// acceptDeflate accepts the first offer of permessage-deflate that can be accepted, and adds the accepted parameters to header.
func (c *Conn) acceptDeflate(r *http.Request, header http.Header) {
	if !c.h.cfg.Deflate {
		return
	}
	for _, field := range r.Header["Sec-Websocket-Extensions"] {
		offers, ok := httphead.ParseOptions([]byte(field), nil)
		if !ok {
			return
		}
		for _, offer := range offers {
			if accepted := acceptOffer(offer); accepted != "" {
				c.deflates = true
				header["Sec-WebSocket-Extensions"] = []string{accepted}
				return
			}
		}
	}
}

// acceptOffer returns the value of Sec-WebSocket-Extensions that accepts an offer, or "" if it is not accepted.
func acceptOffer(offer httphead.Option) string {
	var p wsflate.Parameters
	if string(offer.Name) != wsflate.ExtensionName || p.Parse(offer) != nil || p.ServerMaxWindowBits.Defined() && p.ServerMaxWindowBits < maxWindow {
		return ""
	}
	accepted := noTakeover
	accepted.ServerMaxWindowBits = p.ServerMaxWindowBits
	return extension(accepted)
}

// extension returns the value of Sec-WebSocket-Extensions with these parameters.
func extension(p wsflate.Parameters) string {
	var b bytes.Buffer
	if _, err := httphead.WriteOptions(&b, []httphead.Option{p.Option()}); err != nil {
		panic(err) // a bytes.Buffer does not fail
	}
	return b.String()
}

// flushed is what a flush of the compressor ends with. RFC 7692, section 7.2.1, leaves it out of the message.
const flushed = "\x00\x00\xff\xff"

// ending is read after a compressed message: what was left out, and an empty final block, which ends the stream for the decompressor.
const ending = flushed + "\x01\x00\x00\xff\xff"

// A deflater compresses messages of one level.
type deflater struct {
	w   *flate.Writer
	buf bytes.Buffer
}

var deflaters [10]sync.Pool // by level

// takeDeflater returns a deflater, whose buf is empty.
func takeDeflater(level int) *deflater {
	if d, ok := deflaters[level].Get().(*deflater); ok {
		return d
	}
	d := new(deflater)
	w, err := flate.NewWriter(&d.buf, level)
	if err != nil {
		panic(err) // the level was checked
	}
	d.w = w
	return d
}

// deflate compresses p. The result is valid until put.
func (d *deflater) deflate(p []byte) []byte {
	d.buf.Reset()
	d.w.Reset(&d.buf)
	_, _ = d.w.Write(p) // a bytes.Buffer does not fail
	_ = d.w.Flush()     // as above
	return bytes.TrimSuffix(d.buf.Bytes(), []byte(flushed))
}

// put ends the use of d.
func (d *deflater) put(level int) {
	if d.buf.Cap() > maxKept {
		d.buf = bytes.Buffer{}
	}
	deflaters[level].Put(d)
}

// An inflater decompresses messages.
type inflater struct {
	r     io.ReadCloser
	in    messageReader
	out   []byte
	probe [1]byte // what is read into at the limit, to find out whether the message ends there
}

// messageReader reads a compressed message and its ending.
type messageReader struct {
	p    []byte
	rest string
}

func (r *messageReader) Read(p []byte) (int, error) {
	if len(r.p) > 0 {
		n := copy(p, r.p)
		r.p = r.p[n:]
		return n, nil
	}
	if r.rest == "" {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// ReadByte implements io.ByteReader, so that package flate needs no buffer.
func (r *messageReader) ReadByte() (byte, error) {
	if len(r.p) > 0 {
		b := r.p[0]
		r.p = r.p[1:]
		return b, nil
	}
	if r.rest == "" {
		return 0, io.EOF
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b, nil
}

var inflaters = sync.Pool{New: func() any {
	i := new(inflater)
	i.r = flate.NewReader(&i.in)
	return i
}}

var errTooBig = violation(CloseTooBig, "")

// inflate decompresses a message of at most limit bytes, which are valid until put. A longer one costs no more memory than limit.
func (i *inflater) inflate(p []byte, limit int) ([]byte, error) {
	i.in = messageReader{p, ending}
	if err := i.r.(flate.Resetter).Reset(&i.in, nil); err != nil {
		return nil, err
	}
	i.out = i.out[:0]
	for {
		if len(i.out) == cap(i.out) {
			i.grow(limit)
		}
		room := i.out[len(i.out):cap(i.out)]
		if len(i.out) >= limit {
			room = i.probe[:]
		}
		n, err := i.r.Read(room[:min(len(room), max(1, limit-len(i.out)))])
		if n > 0 && len(i.out) >= limit {
			return nil, errTooBig
		}
		i.out = i.out[:len(i.out)+n]
		if errors.Is(err, io.EOF) {
			return i.out, nil
		}
		if err != nil {
			return nil, violation(CloseInvalidData, "invalid compressed message")
		}
	}
}

// grow makes room for more of a message of at most limit bytes.
func (i *inflater) grow(limit int) {
	n := min(max(4<<10, 2*cap(i.out)), max(limit, 1))
	if n <= cap(i.out) {
		return
	}
	i.out = append(make([]byte, 0, n), i.out...)
}

// put ends the use of i.
func (i *inflater) put() {
	if i.in = (messageReader{}); cap(i.out) > maxKept {
		i.out = nil
	}
	inflaters.Put(i)
}

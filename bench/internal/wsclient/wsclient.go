// Package wsclient has the bytes of the client's side of a WebSocket, for load generators: what is sent is prepared once, and what is received is
// counted as it comes.
package wsclient

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// The operation codes of frames.
const (
	Text   = 0x1
	Binary = 0x2
	closes = 0x8
)

const (
	final    = 0x80
	deflated = 0x40 // RSV1 of the first frame of a message
	masked   = 0x80
	short    = 125 // the maximum length that the second byte states
	length16 = 126
	length64 = 127
)

// The key of each handshake is the example of RFC 6455 section 1.3, and so is its answer.
const (
	key    = "dGhlIHNhbXBsZSBub25jZQ=="
	accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// Request returns the request that opens a WebSocket, with permessage-deflate without context takeover if compress is set.
func Request(path string, compress bool) []byte {
	extensions := ""
	if compress {
		extensions = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
	}
	return []byte("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " +
		key + "\r\n" + extensions + "\r\n")
}

// Check returns an error if the answer to Request does not open the WebSocket with the extension, or has another.
func Check(r *http.Response, compress bool) error {
	extensions := strings.Join(r.Header.Values("Sec-WebSocket-Extensions"), ",")
	switch {
	case r.StatusCode != http.StatusSwitchingProtocols:
		return fmt.Errorf("the answer to the handshake is %s", r.Status)
	case r.Header.Get("Sec-WebSocket-Accept") != accept:
		return fmt.Errorf("the accept key is %q, not %q", r.Header.Get("Sec-WebSocket-Accept"), accept)
	case compress != strings.Contains(extensions, "permessage-deflate"), compress && !strings.Contains(extensions, "server_no_context_takeover"):
		return fmt.Errorf("the extensions are %q, and compression was requested: %t", extensions, compress)
	}
	return nil
}

// Frame returns a message in one frame, which is masked with a key that is always the same. With compress, the message is compressed.
func Frame(opcode byte, message []byte, compress bool) []byte {
	first := final | opcode
	if compress {
		message = deflate(message)
		first |= deflated
	}
	b := []byte{first}
	switch n := len(message); {
	case n <= short:
		b = append(b, masked|byte(n))
	case n <= 1<<16-1:
		b = binary.BigEndian.AppendUint16(append(b, masked|length16), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|length64), uint64(n))
	}
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b = append(b, mask[:]...)
	for i, c := range message {
		b = append(b, c^mask[i%4])
	}
	return b
}

// tail ends each compressed message, and is not sent.
const tail = "\x00\x00\xff\xff"

func deflate(message []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err == nil {
		_, err = w.Write(message)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		panic(err) // the level is valid, and a bytes.Buffer does not fail
	}
	return bytes.TrimSuffix(b.Bytes(), []byte(tail))
}

// Inflate returns the content of a compressed message.
func Inflate(message []byte) ([]byte, error) {
	r := flate.NewReader(io.MultiReader(bytes.NewReader(message), strings.NewReader(tail+"\x01\x00\x00\xff\xff"))) // the last block ends the stream
	return io.ReadAll(r)
}

// ErrClose reports that the server has sent a close frame.
var ErrClose = errors.New("the server has sent a close frame")

// A Message is one that the server has sent.
type Message struct {
	Opcode     byte
	Compressed bool
	Length     int    // of all its frames
	Payload    []byte // nil unless Parser.Keep is set
}

// A Parser finds the messages in the bytes that a server sends. Pings and pongs are ignored.
type Parser struct {
	Keep bool // store payloads

	head    [10]byte
	have    int // bytes of head
	payload bool
	left    uint64 // bytes of the payload that have not arrived
	message Message
}

// Feed takes the next bytes of the connection, and calls fn for each message that they complete. The message is valid during the call.
func (p *Parser) Feed(data []byte, fn func(*Message)) error {
	for len(data) > 0 || p.payload && p.left == 0 {
		if !p.payload {
			n, err := p.takeHead(data)
			if data = data[n:]; err != nil {
				return err
			}
			continue
		}
		n := min(uint64(len(data)), p.left)
		data = p.takePayload(data, n)
		if p.left == 0 {
			p.payload = false
			if p.head[0]&final != 0 && !p.control() {
				fn(&p.message)
				p.message = Message{Payload: p.message.Payload[:0]}
			}
		}
	}
	return nil
}

func (p *Parser) control() bool { return p.head[0]&0x8 != 0 }

func (p *Parser) takePayload(data []byte, n uint64) (rest []byte) {
	if p.Keep && !p.control() {
		p.message.Payload = append(p.message.Payload, data[:n]...)
	}
	p.left -= n
	return data[n:]
}

// takeHead takes bytes of a frame's head.
func (p *Parser) takeHead(data []byte) (n int, err error) {
	for n < len(data) {
		p.head[p.have] = data[n]
		p.have++
		n++
		if size, known := p.headSize(); known && p.have == size {
			p.have, p.payload = 0, true
			return n, p.begin()
		}
	}
	return n, nil
}

func (p *Parser) headSize() (size int, known bool) {
	if p.have < 2 {
		return 0, false
	}
	switch p.head[1] &^ masked {
	case length16:
		return 4, true
	case length64:
		return 10, true
	}
	return 2, true
}

// begin begins the payload of the frame whose head is complete.
func (p *Parser) begin() error {
	switch p.left = uint64(p.head[1]); p.left {
	case length16:
		p.left = uint64(binary.BigEndian.Uint16(p.head[2:]))
	case length64:
		p.left = binary.BigEndian.Uint64(p.head[2:])
	}
	opcode := p.head[0] & 0xf
	switch {
	case p.head[1]&masked != 0:
		return errors.New("a frame of the server is masked")
	case opcode == closes:
		return ErrClose
	case p.control():
		return nil
	case opcode != 0:
		p.message.Opcode, p.message.Compressed = opcode, p.head[0]&deflated != 0
	}
	p.message.Length += int(p.left) //nolint:gosec // a load generator requests messages of some megabytes
	return nil
}

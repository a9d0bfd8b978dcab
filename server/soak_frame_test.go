package server_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
)

// The messages of the soak test are frames, which begin with their length in four bytes, and contain their connection, their number and a
// checksum.

// The tags of frames.
const (
	tagRequest   = 'Q'
	tagPart      = 'a' // of an answer, more follows
	tagAnswer    = 'A'
	tagPush      = 'P'
	tagBroadcast = 'B'
)

// The kinds of requests: the actions of the handler besides the answer.
const (
	kindPlain  = iota
	kindSleep  // takes up to 2 ms on a worker
	kindParts  // the answer is two frames, with a Flush between
	kindPieces // the answer is written in small pieces
	kindPush   // pushes to its own connection while it answers
	kindPause  // pauses reading for a while
	kindSwitch // changes the connection's handler
	kindUsual  // how many of them do not end the connection
	kindBye    = iota - 1
	kindHalf
	kindAbort
	kindExit
)

const (
	frameHead = 18
	frameMax  = 256 << 10
)

// A frame is one message without its length.
type frame struct {
	tag, kind byte
	link      uint32 // the connection, or 0
	seq       uint32
	size      uint32 // of a request: how long the answer's body is to be
	sum       uint32 // of all the rest
	body      []byte
}

// append appends f to dst, with its length and its checksum.
func (f *frame) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(frameHead+len(f.body)))
	start := len(dst)
	dst = append(dst, f.tag, f.kind)
	dst = binary.BigEndian.AppendUint32(dst, f.link)
	dst = binary.BigEndian.AppendUint32(dst, f.seq)
	dst = binary.BigEndian.AppendUint32(dst, f.size)
	f.sum = crc32.Update(crc32.ChecksumIEEE(dst[start:]), crc32.IEEETable, f.body)
	dst = binary.BigEndian.AppendUint32(dst, f.sum)
	return append(dst, f.body...)
}

// parseFrame is the inverse, without the length. The body is a part of p.
func parseFrame(p []byte) (f frame, err error) {
	if len(p) < frameHead {
		return f, fmt.Errorf("a frame of %d bytes: %q", len(p), p)
	}
	f = frame{
		tag: p[0], kind: p[1], link: binary.BigEndian.Uint32(p[2:]), seq: binary.BigEndian.Uint32(p[6:]),
		size: binary.BigEndian.Uint32(p[10:]), sum: binary.BigEndian.Uint32(p[14:]), body: p[frameHead:],
	}
	if sum := crc32.Update(crc32.ChecksumIEEE(p[:14]), crc32.IEEETable, f.body); sum != f.sum {
		return f, fmt.Errorf("%v has the checksum %x, and contains %x", f, sum, f.sum)
	}
	return f, nil
}

func (f frame) String() string {
	return fmt.Sprintf("frame %q kind %d of link %d, number %d, size %d, %d bytes", f.tag, f.kind, f.link, f.seq, f.size, len(f.body))
}

// answerTo makes the answer to a request: the request's checksum, and random bytes of the length that it asks for.
func (s *soak) answerTo(req frame, tag byte) frame {
	body := binary.BigEndian.AppendUint32(make([]byte, 0, 4+req.size), req.sum)
	at := int(req.sum) % (len(s.noise) - int(req.size))
	return frame{tag: tag, kind: req.kind, link: req.link, seq: req.seq, body: append(body, s.noise[at:at+int(req.size)]...)}
}

// isAnswerTo returns an error if f is not the answer to req, the oldest request.
func (f frame) isAnswerTo(req frame) error {
	switch {
	case f.link != req.link || f.seq != req.seq || f.kind != req.kind:
		return fmt.Errorf("%v instead of the answer to %v", f, req)
	case len(f.body) != 4+int(req.size):
		return fmt.Errorf("%v instead of %d bytes", f, 4+req.size)
	case binary.BigEndian.Uint32(f.body) != req.sum:
		return fmt.Errorf("%v answers the checksum %x, not %x of %v", f, binary.BigEndian.Uint32(f.body), req.sum, req)
	}
	return nil
}

// someSize returns the length of a body: mostly small, sometimes large.
func someSize(rng *rand.Rand) int {
	switch n := rng.IntN(100); {
	case n < 60:
		return rng.IntN(100)
	case n < 88:
		return rng.IntN(4 << 10)
	case n < 98:
		return rng.IntN(40 << 10)
	}
	return rng.IntN(200 << 10)
}

// someNoise returns a piece of the random bytes.
func (s *soak) someNoise(rng *rand.Rand, n int) []byte {
	at := rng.IntN(len(s.noise) - n)
	return s.noise[at : at+n]
}

package difftest

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// frameSize is the length of the header of a datagram: the number of the request, that of the datagram, the number of datagrams, and two reserved
// bytes.
const frameSize = 8

// ErrPacket means that the text of a datagram is invalid.
var ErrPacket = errors.New("difftest: bad datagram")

// parsePacket reads a datagram's text: the four numbers of its header in hexadecimal and a quoted line, or raw and all of it in
// hexadecimal.
func parsePacket(text string) ([]byte, error) {
	if raw, ok := strings.CutPrefix(text, "raw "); ok {
		return parseHex(raw)
	}
	words := strings.SplitN(text, " ", 5)
	if len(words) < 5 {
		return nil, fmt.Errorf("%w: %q", ErrPacket, text)
	}
	header, err := hex.DecodeString(strings.Join(words[:4], ""))
	if err != nil || len(header) != frameSize {
		return nil, fmt.Errorf("%w: header of %q", ErrPacket, text)
	}
	line, err := unquoteLine(words[4], nothingToResolve)
	return append(header, line...), err
}

// describePacket returns the text of a received datagram.
func describePacket(p []byte) string {
	if len(p) < frameSize {
		return fmt.Sprintf("raw %x", p)
	}
	number := func(i int) uint16 { return binary.BigEndian.Uint16(p[i:]) }
	payload := quoteLine(p[frameSize:])
	if strings.HasPrefix(string(p[frameSize:]), "VERSION ") {
		payload = "VERSION {*}"
	}
	return fmt.Sprintf("%04x %04x %04x %04x %s", number(0), number(2), number(4), number(6), payload)
}

// packets is Step for datagrams: each line is a datagram, and so is each line of the answer.
func (p *Player) packets(s Step, record bool) ([]string, error) {
	c, ok := p.packetConns[s.Conn]
	if !ok {
		var err error
		if c, err = net.DialTimeout("udp", p.addr, answerTimeout); err != nil {
			return nil, err
		}
		p.packetConns[s.Conn] = c
	}
	for _, l := range s.Send {
		out, err := parsePacket(l.Text)
		if err == nil {
			_, err = c.Write(out)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", s.Line, err)
		}
	}
	var lines []string
	for record || len(lines) < len(s.Want) {
		line, err := receive(c, record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return lines, fmt.Errorf("line %d: %w", s.Line, err)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// receive returns the next datagram in the form of a script.
func receive(c net.Conn, record bool) (string, error) {
	wait := answerTimeout
	if record {
		wait = quiet
	}
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return "", err
	}
	buffer := make([]byte, 64<<10)
	n, err := c.Read(buffer)
	return describePacket(buffer[:n]), err
}

// endPackets sends a request whose answer is known, and returns the answers before it. The server answers in order.
func endPackets(c net.Conn) (extra []string, err error) {
	request, err := parsePacket("fffe 0000 0001 0000 mn")
	if err == nil {
		_, err = c.Write(request)
	}
	for err == nil {
		var line string
		if line, err = receive(c, false); err != nil || line == "fffe 0000 0001 0000 MN" {
			break
		}
		extra = append(extra, line)
	}
	return extra, errors.Join(err, c.Close())
}

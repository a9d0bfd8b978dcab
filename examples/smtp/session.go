package main

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"

	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

const (
	maxCommand = 510     // the protocol's limit; a longer command is answered with 500
	maxLine    = 4 << 10 // a longer line closes the connection
	maxRcpts   = 100
)

// A session is the state of a client's dialogue. One request at a time uses it.
type session struct {
	hello bool
	from  *string // nil before MAIL; empty for a bounce
	rcpts []string
}

func (s *sink) command(w server.Reply, line []byte) {
	c := w.Conn()
	_, _ = w.WriteString(s.answer(c, c.Value().(*session), string(line)) + "\r\n")
}

func (s *sink) answer(c *server.Conn, has *session, line string) string {
	verb, rest, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	switch {
	case len(line) > maxCommand:
		return "500 line too long"
	case verb == "NOOP":
		return "250 ok"
	case verb == "QUIT":
		c.Close() // this answer is still sent
		return "221 bye"
	case verb == "RSET":
		has.from, has.rcpts = nil, nil
		return "250 ok"
	case verb == "HELO" || verb == "EHLO":
		*has = session{hello: true}
		if verb == "HELO" {
			return "250 sink"
		}
		return s.extensions(c)
	case verb == "STARTTLS" && s.tls != nil:
		return s.startTLS(c, has, rest)
	case verb != "MAIL" && verb != "RCPT" && verb != "DATA":
		return "500 unknown command"
	case !has.hello:
		return "503 say hello first"
	case verb == "MAIL":
		return s.mailFrom(has, rest)
	case has.from == nil:
		return "503 MAIL first"
	case verb == "RCPT":
		return rcptTo(has, rest)
	case len(has.rcpts) == 0:
		return "503 RCPT first"
	}
	if err := c.SetHandler(s.mail); err != nil { // only for an invalid handler
		return "451 " + err.Error()
	}
	return "354 end with a line of a single dot"
}

// extensions is the answer to EHLO.
func (s *sink) extensions(c *server.Conn) string {
	offer := ""
	if _, encrypted := c.TLS(); s.tls != nil && !encrypted {
		offer = "250-STARTTLS\r\n"
	}
	return fmt.Sprintf("250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n%s250 SIZE %d", offer, s.limit)
}

// startTLS begins TLS after this answer, and discards the state of the session, as RFC 3207, section 4.2, demands.
func (s *sink) startTLS(c *server.Conn, has *session, rest string) string {
	if rest != "" {
		return "501 STARTTLS has no parameters"
	}
	if _, encrypted := c.TLS(); encrypted {
		return "503 the connection is encrypted already"
	}
	if err := c.StartTLS(s.tls, nil); err != nil {
		return "454 " + err.Error()
	}
	*has = session{}
	return "220 ready to start TLS"
}

func (s *sink) mailFrom(has *session, rest string) string {
	from, params, ok := path(rest, "FROM:")
	switch {
	case !ok:
		return "501 MAIL FROM:<address>"
	case has.from != nil:
		return "503 one at a time"
	}
	for _, p := range params {
		if size, found := strings.CutPrefix(strings.ToUpper(p), "SIZE="); found {
			if n, err := strconv.Atoi(size); err != nil || n > s.limit {
				return "552 message too large"
			}
		}
	}
	has.from = &from
	return "250 ok"
}

func rcptTo(has *session, rest string) string {
	to, _, ok := path(rest, "TO:")
	switch {
	case !ok || to == "":
		return "501 RCPT TO:<address>"
	case len(has.rcpts) == maxRcpts:
		return "452 too many recipients"
	}
	has.rcpts = append(has.rcpts, to)
	return "250 ok"
}

// path parses "FROM:<address> PARAMETERS".
func path(text, keyword string) (address string, params []string, ok bool) {
	if len(text) < len(keyword) || !strings.EqualFold(text[:len(keyword)], keyword) {
		return "", nil, false
	}
	text, ok = strings.CutPrefix(strings.TrimSpace(text[len(keyword):]), "<")
	address, rest, closed := strings.Cut(text, ">")
	return address, strings.Fields(rest), ok && closed
}

// message stores a message; commands follow it. It may block, as writing to a disk does.
func (s *sink) message(w server.Reply, stuffed []byte) {
	has := w.Conn().Value().(*session)
	text := framing.Unstuff(nil, stuffed)
	answer := "250 accepted"
	if bare(text) {
		answer = "550 lines must end with CR and LF" // otherwise two servers may find the end of the message at different places
	} else if err := s.keep(has, text); err != nil {
		log.Print(err)
		answer = "452 the message cannot be stored"
	}
	has.from, has.rcpts = nil, nil
	_ = w.Conn().SetHandler(s.commands) // fails only for an invalid handler
	_, _ = w.WriteString(answer + "\r\n")
}

// bare reports whether text has a CR or an LF that is not part of CR LF.
func bare(text []byte) bool {
	ends := bytes.Count(text, []byte("\r\n"))
	return bytes.Count(text, []byte("\r")) != ends || bytes.Count(text, []byte("\n")) != ends
}

func (s *sink) keep(has *session, text []byte) error {
	if s.dir != "" {
		f, err := os.CreateTemp(s.dir, "mail-*")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(f, "X-From: <%s>\r\nX-To: <%s>\r\n%s", *has.from, strings.Join(has.rcpts, ">, <"), text)
		if err = errors.Join(err, f.Close()); err != nil {
			return errors.Join(err, os.Remove(f.Name()))
		}
	}
	s.messages.Add(1)
	return nil
}

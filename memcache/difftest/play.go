package difftest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// answerTimeout is the time after which an expected answer is an error.
const answerTimeout = 10 * time.Second

// quiet is the time without input after which an unknown answer is taken as complete.
const quiet = 60 * time.Millisecond

// A Player executes the steps of a group on one server.
type Player struct {
	addr  string
	canon *Canon
	conns map[string]*client

	packetConns map[string]net.Conn
}

// client is one connection.
type client struct {
	net.Conn
	binary bool
	closed bool // by the server
}

// NewPlayer returns a Player for the server at addr, which uses TCP and, for datagrams, UDP.
func NewPlayer(addr string) *Player {
	return &Player{addr: addr, canon: NewCanon(), conns: map[string]*client{}, packetConns: map[string]net.Conn{}}
}

// Step sends the lines of the step and returns the answer: as much as the step expects, and everything received with it. With record, the answer is
// everything that is received until there is no input for some time.
func (p *Player) Step(s Step, record bool) ([]string, error) {
	time.Sleep(s.Wait) // the script asks for it, where a second has to pass for memcached
	if s.Send[0].Kind == Packet {
		return p.packets(s, record)
	}
	c, err := p.client(s)
	if err != nil {
		return nil, err
	}
	out, err := s.Bytes(p.canon)
	if err != nil {
		return nil, err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(out)
		sent <- err
	}()
	var answer []byte
	if record {
		answer, err = c.readAll()
	} else {
		answer, err = c.read(s.Want)
	}
	if err == nil {
		err = isClosed(<-sent)
	}
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", s.Line, err)
	}
	lines := p.canon.Lines(answer, c.binary)
	if c.closed {
		lines = append(lines, Closed)
	}
	return lines, nil
}

// client returns the step's connection. The first step of a connection opens it.
func (p *Player) client(s Step) (*client, error) {
	c, ok := p.conns[s.Conn]
	if !ok {
		nc, err := net.DialTimeout("tcp", p.addr, answerTimeout)
		if err != nil {
			return nil, err
		}
		c = &client{Conn: nc, binary: s.Binary()}
		p.conns[s.Conn] = c
	}
	return c, nil
}

// End closes the sending half of each connection and expects its end. It returns everything that is received before.
func (p *Player) End() (extra []string, err error) {
	for _, c := range p.conns {
		if !c.closed {
			rest, finishErr := finish(c.Conn)
			extra = append(extra, p.canon.Lines(rest, c.binary)...)
			err = errors.Join(err, finishErr)
		}
		err = errors.Join(err, c.Close())
	}
	for _, c := range p.packetConns {
		more, endErr := endPackets(c)
		extra, err = append(extra, more...), errors.Join(err, endErr)
	}
	return extra, err
}

// finish closes the sending half, and reads until the server closes too.
func finish(nc net.Conn) ([]byte, error) {
	err := isClosed(nc.(*net.TCPConn).CloseWrite())
	if err == nil {
		err = nc.SetReadDeadline(time.Now().Add(answerTimeout))
	}
	if err != nil {
		return nil, err
	}
	rest, err := io.ReadAll(nc)
	return rest, isClosed(err)
}

// read reads until it has as much as want. Everything received with it is a part of the result, so that surplus bytes are detected.
func (c *client) read(want []string) (answer []byte, err error) {
	toClose := len(want) > 0 && want[len(want)-1] == Closed
	lines := len(want)
	if toClose {
		lines--
	}
	if err := c.SetReadDeadline(time.Now().Add(answerTimeout)); err != nil {
		return nil, err
	}
	buffer := make([]byte, 64<<10)
	for have := 0; !c.closed && (have < lines || toClose); {
		n, err := c.Read(buffer)
		answer = append(answer, buffer[:n]...)
		if n > 0 && !c.binary {
			have += count(buffer[:n], false)
		} else if n > 0 {
			have = count(answer, true)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return answer, nil // too little
		}
		if err != nil {
			c.closed = true
			return answer, isClosed(err)
		}
	}
	return answer, nil
}

// readAll reads until there is no input for some time.
func (c *client) readAll() (answer []byte, err error) {
	buffer := make([]byte, 64<<10)
	for !c.closed {
		if err := c.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			return nil, err
		}
		n, err := c.Read(buffer)
		answer = append(answer, buffer[:n]...)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			c.closed = true
			return answer, isClosed(err)
		}
	}
	return answer, nil
}

// isClosed returns nil for errors that mean that the server has closed the connection: an end or, if the server had unread input, a reset.
func isClosed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ENOTCONN) {
		return nil
	}
	return err
}

// ErrSilent means that a server has neither sent all answers nor closed the connection, long after its client has closed the sending half.
var ErrSilent = errors.New("difftest: the server is silent")

// Stream sends input in pieces of a given size without waiting for answers, and closes the sending half. It returns all answers. The error is
// ErrSilent, or another error that occurred.
func Stream(addr string, out []byte, piece int) ([]byte, error) {
	nc, err := net.DialTimeout("tcp", addr, answerTimeout)
	if err != nil {
		return nil, err
	}
	sent := make(chan error, 1)
	go func() {
		for len(out) > 0 {
			n, err := nc.Write(out[:min(piece, len(out))])
			if err != nil {
				sent <- isClosed(err)
				return
			}
			out = out[n:]
		}
		sent <- isClosed(nc.(*net.TCPConn).CloseWrite())
	}()
	var answer []byte
	if err = nc.SetDeadline(time.Now().Add(2 * answerTimeout)); err == nil {
		answer, err = io.ReadAll(nc)
	}
	if err = isClosed(err); err != nil {
		err = fmt.Errorf("%w: after %d bytes: %w", ErrSilent, len(answer), err)
	}
	return answer, errors.Join(err, <-sent, nc.Close())
}

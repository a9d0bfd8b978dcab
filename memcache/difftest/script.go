package difftest

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrScript means that a script is invalid. The text has the number of the line.
var ErrScript = errors.New("difftest: bad script")

// A Script is a file of groups for a pair of servers.
type Script struct {
	Args   []string // both servers' arguments
	Groups []Group

	lines []string
}

// A Group is a piece of a script that depends on no other.
type Group struct {
	Name     string
	Stepwise bool // may not be sent in one piece
	Second   bool // must be played within one second of the server's clock
	Unsteady bool // memcached answers otherwise when it is sent in one piece; evcached must not
	Steps    []Step
}

// A Step is input that is sent on a connection, and the answer to it.
type Step struct {
	Line int           // in the file, from 1
	Conn string        // the connection's name
	Wait time.Duration // before sending
	Send []Line
	Want []string // as Canon has it

	last int // the line after which the answer is recorded
}

// A Line is one line that is sent.
type Line struct {
	Kind Kind
	Text string
}

// nothing is the line of a script for an empty answer.
const nothing = "<"

// Kind is the form of a Line's text.
type Kind uint8

const (
	Text   Kind = iota // quoted bytes and a line end
	Bin                // a Frame
	Bytes              // hexadecimal
	Packet             // a datagram
)

// Parse parses a script. The error is ErrScript.
func Parse(text string) (*Script, error) {
	s := &Script{lines: strings.Split(strings.TrimSuffix(text, "\n"), "\n")}
	p := parser{script: s}
	for i, line := range s.lines {
		if err := p.line(i+1, line); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrScript, i+1, err)
		}
	}
	return s, nil
}

// parser is the state between two lines.
type parser struct {
	script  *Script
	conn    string
	wait    time.Duration
	answers bool // the last line was one of an answer
}

func (p *parser) line(n int, line string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "#", "":
		return nil
	case "args":
		if p.script.Groups != nil {
			return errors.New("args after the first group")
		}
		p.script.Args = strings.Fields(rest)
		return nil
	case "==":
		name, stepwise := strings.CutSuffix(rest, " stepwise")
		name, unsteady := strings.CutSuffix(name, " unsteady")
		name, second := strings.CutSuffix(name, " second")
		p.script.Groups = append(p.script.Groups, Group{Name: name, Stepwise: stepwise, Unsteady: unsteady, Second: second})
		p.conn, p.wait, p.answers = "", 0, false
		return nil
	}
	if p.script.Groups == nil {
		return fmt.Errorf("%q before the first group", word)
	}
	g := &p.script.Groups[len(p.script.Groups)-1]
	switch word {
	case "on":
		p.conn, p.answers = rest, true
	case "wait":
		d, err := time.ParseDuration(rest)
		p.wait += d
		p.answers = true
		return err
	case ">":
		p.send(g, n, Line{Text, rest})
	case "b>":
		p.send(g, n, Line{Bin, rest})
	case "x>":
		p.send(g, n, Line{Bytes, rest})
	case "u>":
		p.send(g, n, Line{Packet, rest})
	case "<":
		if len(g.Steps) == 0 {
			return errors.New("an answer without a request")
		}
		last := &g.Steps[len(g.Steps)-1]
		if line != nothing {
			last.Want = append(last.Want, rest)
		}
		p.answers = true
	default:
		return fmt.Errorf("unknown word %q", word)
	}
	return nil
}

// send adds a line to the step, or begins the next step.
func (p *parser) send(g *Group, n int, l Line) {
	if p.answers || len(g.Steps) == 0 {
		g.Steps = append(g.Steps, Step{Line: n, Conn: p.conn, Wait: p.wait})
		p.wait, p.answers = 0, false
	}
	last := &g.Steps[len(g.Steps)-1]
	last.Send, last.last = append(last.Send, l), n
}

// Text returns the script with the present answers of its steps. Everything else is as it was parsed.
func (s *Script) Text() string {
	want := map[int][]string{}
	for _, g := range s.Groups {
		for _, step := range g.Steps {
			want[step.last] = step.Want
		}
	}
	var b strings.Builder
	for i, line := range s.lines {
		if line == nothing || strings.HasPrefix(line, "< ") {
			continue
		}
		b.WriteString(line + "\n")
		answer, isStep := want[i+1]
		for _, line := range answer {
			b.WriteString("< " + line + "\n")
		}
		if isStep && len(answer) == 0 {
			b.WriteString(nothing + "\n")
		}
	}
	return b.String()
}

// Bytes returns the input of the step. Marks are replaced with the numbers that canon has for them.
func (s Step) Bytes(canon *Canon) ([]byte, error) {
	var p []byte
	for _, l := range s.Send {
		var piece []byte
		var err error
		switch l.Kind {
		case Text:
			piece, err = unquoteLine(l.Text, canon.resolve)
		case Bin:
			var f Frame
			if f, err = ParseFrame(l.Text, canon.resolve); err == nil {
				piece = f.Append(nil)
			}
		case Bytes:
			piece, err = parseHex(l.Text)
		case Packet:
			piece, err = parsePacket(l.Text)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrScript, s.Line, err)
		}
		p = append(p, piece...)
	}
	return p, nil
}

// Binary reports whether the connection that begins with the step uses the binary protocol.
func (s Step) Binary() bool { return s.Send[0].Kind != Text }

// OnePiece reports whether all input of a group can be sent at once: on one connection, not as datagrams, without pauses, and without numbers from
// earlier answers.
func (g Group) OnePiece() bool {
	if g.Stepwise {
		return false
	}
	for _, s := range g.Steps {
		if s.Conn != g.Steps[0].Conn || s.Wait > 0 {
			return false
		}
		for _, l := range s.Send {
			if l.Kind == Packet || l.Kind != Bytes && strings.Contains(l.Text, "{cas") {
				return false
			}
		}
	}
	return true
}

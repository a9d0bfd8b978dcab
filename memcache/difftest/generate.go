package difftest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// A Piece is the input of a generated client, which sends it on a new connection without waiting and then closes its sending half.
type Piece struct {
	Binary   bool
	Commands [][]Line // each is a request with its value, if it has one
}

// closes reports whether the last command of the piece makes the server close the connection.
func (p Piece) closes() bool {
	last := p.Commands[len(p.Commands)-1]
	return slices.Contains(closing, last[0].Text) && (p.Binary || last[0].Text == closing[0])
}

// A Generator generates scripts of random commands for a few keys. Most are valid, and some have a small fault. The scripts depend only on the seed.
type Generator struct{ r *rand.Rand }

// NewGenerator returns a Generator with a seed.
func NewGenerator(seed uint64) *Generator { return &Generator{rand.New(rand.NewPCG(seed, 0x6576))} }

// Script returns the next script: a few pieces, in which the later ones may use unique numbers from answers to the earlier ones.
func (g *Generator) Script() []Piece {
	pieces := make([]Piece, 1+g.r.IntN(5))
	for i := range pieces {
		pieces[i].Binary = g.one(4)
		// While an answer about an item waits, memcached counts in another: a piece counts or reads.
		c := commander{g, g.one(2)}
		for range 1 + g.r.IntN(12) {
			command := c.text
			if pieces[i].Binary {
				command = c.binary
			}
			pieces[i].Commands = append(pieces[i].Commands, command())
			if pieces[i].closes() {
				break // a server that closes and leaves bytes unread resets, and then answers on their way may be lost
			}
		}
	}
	return pieces
}

// one returns true once in n times on average.
func (g *Generator) one(n int) bool { return g.r.IntN(n) == 0 }

// pick returns one of the texts at random.
func (g *Generator) pick(texts ...string) string { return texts[g.r.IntN(len(texts))] }

// Run runs the script on the server at addr and returns the answers to each piece.
func Run(addr string, script []Piece) ([][]string, error) {
	canon := NewCanon()
	answers := make([][]string, len(script))
	for i, piece := range script {
		var out []byte
		for _, command := range piece.Commands {
			for _, line := range command {
				line.Text = strings.ReplaceAll(line.Text, recent, canon.recent())
				p, err := Step{Send: []Line{line}}.Bytes(canon)
				if err != nil {
					return nil, err
				}
				out = append(out, p...)
			}
		}
		if !piece.Binary && !piece.closes() {
			out = append(out, filler...)
		}
		cut := max(1, len(out))
		if len(out)%3 == 0 {
			cut = 5 // so that reads end anywhere
		}
		answer, err := Stream(addr, out, cut)
		if err != nil {
			return nil, fmt.Errorf("piece %d: %w", i+1, err)
		}
		answers[i] = canon.Lines(answer, piece.Binary)
	}
	return answers, nil
}

// filler follows every piece of text, in case a value is too short: memcached drops pending answers when its client ends within a value.
var filler = strings.Repeat("mn\r\n", 2)

// recent stands in a generated line for the unique number that was seen first most recently.
const recent = "{recent}"

// recent returns the text of the most recent number, if there is one.
func (c *Canon) recent() string {
	if len(c.names) == 0 {
		return strconv.Itoa(chosen + 1)
	}
	return fmt.Sprintf("{cas%d}", len(c.names))
}

// ErrDiffer means that two servers have answered a script differently.
var ErrDiffer = errors.New("difftest: the servers differ")

// Compare runs the script on both servers, which must be empty. The error is ErrDiffer, or another error that occurred.
func Compare(reference, other string, script []Piece) error {
	want, err := Run(reference, script)
	if err != nil {
		return fmt.Errorf("%s: %w", reference, err)
	}
	got, err := Run(other, script)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDiffer, err)
	}
	for i := range want {
		if diff := Match(want[i], got[i]); diff != "" {
			return fmt.Errorf("%w: piece %d, answer's %s", ErrDiffer, i+1, diff)
		}
	}
	return nil
}

// Shrink returns the smallest script it finds for which differ still holds, by leaving out pieces and commands.
func Shrink(script []Piece, differ func([]Piece) bool) []Piece {
	for again := true; again; {
		again = false
		for i := len(script) - 1; i >= 0; i-- {
			if fewer := without(script, i, -1); len(script) > 1 && differ(fewer) {
				script, again = fewer, true
				continue
			}
			for j := len(script[i].Commands) - 1; j >= 0 && len(script[i].Commands) > 1; j-- {
				if fewer := without(script, i, j); differ(fewer) {
					script, again = fewer, true
				}
			}
		}
	}
	return script
}

// without returns the script without a piece or, unless j is -1, without one command of it.
func without(script []Piece, i, j int) []Piece {
	var fewer []Piece
	for n, piece := range script {
		if n == i && j < 0 {
			continue
		}
		commands := piece.Commands
		if n == i {
			commands = append(commands[:j:j], commands[j+1:]...)
		}
		fewer = append(fewer, Piece{piece.Binary, commands})
	}
	return fewer
}

// Format returns the script in the format of a script file. Each piece is a connection.
func Format(script []Piece) string {
	var b strings.Builder
	for i, piece := range script {
		fmt.Fprintf(&b, "on P%d\n", i+1)
		for _, command := range piece.Commands {
			for _, line := range command {
				b.WriteString([...]string{Text: "> ", Bin: "b> ", Bytes: "x> "}[line.Kind] + line.Text + "\n")
			}
		}
	}
	return b.String()
}

package archtest

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
	"testing"
)

// A clause with "who" follows a word for a person, or asks. A clause that is itself the subject gets one (a client that asks again is refused), and a
// client, a goroutine or a peer is no person (a client that).
func TestWhoFollowsAPerson(t *testing.T) { obey(t, pending.who, headlessWho) }

// person matches what may precede "who": persons, and verbs before an indirect question.
var person = regexp.MustCompile(`(?i)(\b(users?|readers?|people|persons?|operators?|administrators?|authors?|programmers?|engineers?|developers?|contributors?` +
	`|maintainers?|members?|those|others)( of \S+)?,?|\b(say|says|said|ask|asks|asked|know|knows|knew|tell|tells|told|show|shows|shown|see|sees|find|finds|found|about)` +
	`|/|"|` + "`" + `)\s*$`)

var (
	who      = regexp.MustCompile(`\b[Ww]ho\b`)
	question = regexp.MustCompile(`^[^.!;:]*\?`)
)

// headlessWho finds clauses with "who" that do not follow a person.
func headlessWho(s *source) (found []finding) {
	if s.path == wordlist {
		return nil
	}
	for _, p := range s.prose() {
		for _, place := range who.FindAllStringIndex(p.text, -1) {
			before, after := p.text[:place[0]], p.text[place[1]:]
			isName := strings.TrimSpace(p.text) == "who" // a string or a word of a command line
			if !isName && !person.MatchString(before[max(0, len(before)-60):]) && !question.MatchString(after) {
				found = append(found, finding{p.line + strings.Count(before, "\n"), `"` + strings.Join(strings.Fields(around(p.text, place)), " ") +
					`": a clause with "who" lacks a person`})
			}
		}
	}
	return found
}

// around returns a place of a text with what stands beside it.
func around(text string, place []int) string {
	return text[max(0, place[0]-20):min(len(text), place[1]+30)]
}

// A passage is a comment, a string or the text of a file that is not Go.
type passage struct {
	line int // of its beginning
	text string
}

// prose returns the passages of a file.
func (s *source) prose() (all []passage) {
	if s.file == nil {
		if strings.HasSuffix(s.path, ".md") {
			return []passage{{1, headings.ReplaceAllString(s.text, "")}}
		}
		return []passage{{1, hashes.ReplaceAllString(s.text, "$1 ")}}
	}
	for _, group := range s.file.Comments {
		from, to := s.set.Position(group.Pos()).Offset, s.set.Position(group.End()).Offset
		all = append(all, passage{s.line(group.Pos()), slashes.ReplaceAllString(s.text[from:to], "$1  ")})
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			all = append(all, passage{s.line(lit.Pos()), strings.Trim(lit.Value, "\"`")})
		}
		return true
	})
	return all
}

// slashes and hashes match the beginning of a line of a comment in Go and in a script.
var (
	slashes  = regexp.MustCompile(`(?m)^([ \t]*)//`)
	hashes   = regexp.MustCompile(`(?m)^([ \t]*)#+ `)
	headings = regexp.MustCompile(`(?m)^#+ .*$`)
)

// No sentence begins with a clause with "what" as its subject: it names the thing (input that does not fit is lost). Questions and headings may
// begin with it.
func TestNoSentenceBeginsWithAWhatClause(t *testing.T) { obey(t, pending.what, headlessWhat) }

var whatClause = regexp.MustCompile(`(?:^\s*|[.!?:;]\)?\s+|\n\s*- (?:\*\*)?)What\s`)

// headlessWhat finds sentences that begin with "what".
func headlessWhat(s *source) (found []finding) {
	if s.path == wordlist {
		return nil
	}
	for _, p := range s.prose() {
		for _, place := range whatClause.FindAllStringIndex(p.text, -1) {
			if before, after := p.text[:place[1]-1], p.text[place[1]:]; !question.MatchString(after) {
				found = append(found, finding{p.line + strings.Count(before, "\n"), `"` + strings.Join(strings.Fields(around(p.text, place)), " ") +
					`": the subject is a clause with "what"`})
			}
		}
	}
	return found
}

func TestHeadlessWhatFindsSentencesThatBeginWithIt(t *testing.T) {
	whatSample.expect(t, headlessWhat)
	whatMarkdown.expect(t, headlessWhat)
}

func TestHeadlessWhoFindsClausesWithoutAPerson(t *testing.T) {
	whoSample.expect(t, headlessWho)
	whoMarkdown.expect(t, headlessWho)
}

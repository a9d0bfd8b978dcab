package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
	"testing"
)

// A leftover is a trace of how the text came about. The patterns do not match themselves, so that this file is searched too.
type leftover struct {
	pattern *regexp.Regexp
	why     string
}

var leftovers = []leftover{
	{regexp.MustCompile(`\b(T[O]DO|F[I]XME|X[X]X|H[A]CK)\b`), "what is to be done is done, or written down in docs"},
	{regexp.MustCompile(`(?m)(^|[\s"'(=` + "`" + `])/(wor[k]|hom[e]|Use[r]s|roo[t])/\w`), "a path of one machine"},
	{regexp.MustCompile(`/tmp/(w[t]|brie[f]|bi[n])\b`), "a path of one machine"},
	{regexp.MustCompile(`\b(prox[y]|su[m]|inde[x])\.golang\.org|\bregistr[y]\.(npmjs|yarnpkg)|\b(pypi|pythonhosted)\.(or[g]|io)|\bcrate[s]\.io|\b(docker|ghcr|quay)\.i[o]\b|\b(deb|archive)\.(debian|ubuntu)\.(or[g]|com)`),
		"the host of a package registry"},
	{regexp.MustCompile(`\b[Ii]ssu[e]s? #?\d|\bissu[e] tracker`), "a reference to a list that the repository lacks"},
	{regexp.MustCompile(`\b(workplac[e]|worktre[e]|sub-?agen[t]s?|[Tt]he coord[i]nator|[Yy]our tas[k]|helper sessio[n])\b`),
		"a word about how the text was written"},
}

// No marks of unfinished work, no paths of one machine, no hosts of registries, no words about how a text was written.
func TestNothingIsLeftOfTheWriting(t *testing.T) { obey(t, pending.leftovers, leftoverText) }

// No comment is code that was taken out.
func TestNoCodeIsCommentedOut(t *testing.T) { obey(t, pending.leftovers, commentedCode) }

func leftoverText(s *source) (found []finding) {
	for _, l := range leftovers {
		for _, place := range l.pattern.FindAllStringIndex(s.text, -1) {
			line := 1 + strings.Count(s.text[:place[1]], "\n")
			found = append(found, finding{line, fmt.Sprintf("%q: %s", strings.TrimSpace(s.text[place[0]:place[1]]), l.why)})
		}
	}
	return found
}

// commentedCode finds comments inside functions that are statements of Go. A comment at the end of a line of code may be an expression.
func commentedCode(s *source) (found []finding) {
	if s.file == nil {
		return nil
	}
	lines := strings.Split(s.text, "\n")
	for _, group := range s.file.Comments {
		if first := lines[s.line(group.Pos())-1]; strings.HasPrefix(strings.TrimSpace(first), "//") && isCode(group.List) {
			found = append(found, s.at(group.Pos(), "a comment that is code"))
		}
	}
	return found
}

// isCode reports whether the lines of a comment are statements or declarations.
func isCode(comment []*ast.Comment) bool {
	var text strings.Builder
	for _, c := range comment {
		text.WriteString(strings.TrimPrefix(c.Text, "//") + "\n")
	}
	for _, frame := range []string{"package a\nfunc f() {\n%s\n}", "package a\n%s"} {
		file, err := parser.ParseFile(token.NewFileSet(), "", fmt.Sprintf(frame, text.String()), parser.SkipObjectResolution)
		if err != nil {
			continue
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Name.Name != "f" || f.Body == nil || containsStatement(f.Body) {
				return true
			}
		}
	}
	return false
}

// containsStatement reports whether a block contains more than words, which are expressions too.
func containsStatement(block *ast.BlockStmt) bool {
	for _, s := range block.List {
		switch s := s.(type) {
		case *ast.EmptyStmt, *ast.LabeledStmt:
		case *ast.ExprStmt:
			if _, ok := s.X.(*ast.CallExpr); ok {
				return true
			}
		case *ast.ReturnStmt:
			if len(s.Results) > 0 {
				return true
			}
		default:
			return true
		}
	}
	return false
}

func TestLeftoverTextFindsTraces(t *testing.T) {
	text := "package a\n"
	for _, line := range []string{
		"T" + "ODO: more", "see /wor" + "k/shared", "as /tmp/w" + "t/a has", "GOPROXY=https://proxy" + ".golang.org", "docker pull ghcr" + ".io/x", "as issu" + "e 11 wants",
		"in another workt" + "ree", "crates" + ".io", "index at pypi" + ".org",
	} {
		text += "// " + line + " bad\n"
	}
	sample{"a.go", text + "// golang/go#75804, an issued order, WORKDIR /var/lib, /tmp/s, ~/.cache, a TLS session, a test's helper\n"}.expect(t, leftoverText)
}

func TestCommentedCodeFindsStatements(t *testing.T) {
	sample{"a.go", `package a

// f calls g.
//
//	g(1)
func f() {
	// g(2) // bad
	g(3) // g(4)
	// This is a comment, and g(4) a call.

	// x = 1; // bad
	g(5)
	// if x { // bad
	//	g(6)
	// }
	g(7)
	// nothing
	// return
}

// var x = 1 // bad

//go:noinline
func g(int) {}
`}.expect(t, commentedCode)
}

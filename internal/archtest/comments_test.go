package archtest

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// documented is the packages whose comments are checked: those for users.
var documented = []string{"event", "msgqueue", "server", "server/framing", "server/client", "httpd", "httpd/sse", "httpd/websocket", "memcache", "status", "servertest"}

// goroutines is the phrases that say which goroutine may call a function. One of them ends the comment of each exported function and method.
var goroutines = []string{
	"Any goroutine.",                // callbacks included
	"Loop only.",                    // the goroutine that runs the loop, as in a callback
	"May block; not in a callback.", // in a callback it returns ErrOnLoop
	"May block; in a callback of its own loop it does not.", // there it fails instead of waiting
}

// The comment of each exported function and method says which goroutine may call it, with one of a few phrases.
func TestExportedCommentsNameTheGoroutine(t *testing.T) {
	obey(t, pending.goroutines, withoutGoroutine)
}

// Each exported type, constant, variable and method of an interface has a comment. Those of a group may share the group's.
func TestExportedNamesHaveComments(t *testing.T) { obey(t, pending.comments, withoutComment) }

// withoutGoroutine finds exported functions and methods whose comments do not say which goroutine may call them.
func withoutGoroutine(s *source) (found []finding) {
	if !slices.Contains(documented, s.dir()) || s.isTest() {
		return nil
	}
	for _, f := range s.funcs() {
		if !f.Name.IsExported() || f.Recv != nil && !ast.IsExported(receiver(f)) {
			continue
		}
		comment := strings.Join(strings.Fields(f.Doc.Text()), " ")
		if !slices.ContainsFunc(goroutines, func(phrase string) bool { return comment == phrase || strings.HasSuffix(comment, " "+phrase) }) {
			found = append(found, s.at(f.Pos(), "the comment of %s does not end with the goroutine that may call it (%q, ...)", f.Name.Name, goroutines[0]))
		}
	}
	return found
}

// receiver returns the name of the type of a method's receiver.
func receiver(f *ast.FuncDecl) string {
	typ := f.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.ParenExpr:
			typ = x.X
		case *ast.IndexExpr: // a generic type
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// withoutComment finds exported names without a comment.
func withoutComment(s *source) (found []finding) {
	if !slices.Contains(documented, s.dir()) || s.isTest() {
		return nil
	}
	for _, d := range s.file.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok == token.IMPORT {
			continue
		}
		for _, spec := range decl.Specs {
			found = append(found, s.bareSpec(spec, decl.Doc)...)
		}
	}
	return found
}

// bareSpec returns the exported names of a declaration that have no comment.
func (s *source) bareSpec(spec ast.Spec, group *ast.CommentGroup) (found []finding) {
	bare := func(name *ast.Ident, comments ...*ast.CommentGroup) {
		if name.IsExported() && !slices.ContainsFunc(comments, func(c *ast.CommentGroup) bool { return c.Text() != "" }) {
			found = append(found, s.at(name.Pos(), "%s has no comment", name.Name))
		}
	}
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			bare(name, group, spec.Doc, spec.Comment)
		}
	case *ast.TypeSpec:
		bare(spec.Name, group, spec.Doc, spec.Comment)
		members, ok := spec.Type.(*ast.InterfaceType)
		if !ok || !spec.Name.IsExported() {
			return found
		}
		for _, m := range members.Methods.List {
			for _, name := range m.Names { // none for an embedded interface
				only := len(members.Methods.List) == 1 // the comment of an interface of one method is the method's
				if !only {
					bare(name, m.Doc, m.Comment)
				}
			}
		}
	}
	return found
}

func TestWithoutGoroutineFindsFunctions(t *testing.T) {
	text := `package event

// F does it. Any goroutine.
func F() {}

// G does it. May block; not in a
// callback.
func G() {}

// Any goroutine may call H.
func H() {} // bad

// M does it.
func (l *Loop) M() {} // bad

// P does it. Many goroutine.
func (l *Loop[T]) P() {} // bad

func (l Loop) N() {} // bad

func (l *private) M() {}
func f() {}
`
	sample{"event/a.go", text}.expect(t, withoutGoroutine)
	for _, path := range []string{"event/a_test.go", "internal/poller/a.go", "cmd/evcached/a.go"} {
		sample{path, strings.ReplaceAll(text, "bad", "")}.expect(t, withoutGoroutine)
	}
}

func TestWithoutCommentFindsNames(t *testing.T) {
	sample{"event/a.go", `package event

type A struct{} //mark:bad

// B is one.
type B interface {
	M() //mark:bad
	N() // does it
	O() //mark:bad
}

// C is one of one method.
type C interface{ M() }

type d interface{ M() }

const (
	E = 1 //mark:bad
	F = 2 // is two
)

// These are numbers.
const (
	G = 1
	H = 2
)

var I, j int //mark:bad
`}.expect(t, withoutComment)
}

package event_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// Each method of event and msgqueue whose name ends in InLoop begins with the assertion that it runs on the loop.
func TestInLoopMethodsAssertIt(t *testing.T) {
	for _, dir := range []string{".", "../msgqueue"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		testkit.Must(t, err)
		found := 0
		for _, file := range files {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			testkit.Must(t, err)
			for _, decl := range f.Decls {
				fn, ok := decl.(*ast.FuncDecl)
				if !ok || fn.Recv == nil || fn.Name.Name == "assertInLoop" || !strings.HasSuffix(fn.Name.Name, "InLoop") {
					continue
				}
				found++
				if !callsAssertInLoop(fn.Body.List[0]) {
					t.Errorf("%s: %s does not begin with assertInLoop", file, fn.Name.Name)
				}
			}
		}
		if found == 0 {
			t.Errorf("no method in %s", dir)
		}
	}
}

// callsAssertInLoop reports whether s is a call of a method assertInLoop.
func callsAssertInLoop(s ast.Stmt) bool {
	expr, ok := s.(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := expr.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	return ok && method.Sel.Name == "assertInLoop"
}

// The comment of each exported function and method of event and msgqueue says on which goroutine it may be called.
func TestExportedCommentsNameTheGoroutine(t *testing.T) {
	for _, dir := range []string{".", "../msgqueue"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		testkit.Must(t, err)
		checked := 0
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
			testkit.Must(t, err)
			for _, decl := range f.Decls {
				fn, ok := decl.(*ast.FuncDecl)
				if !ok || !fn.Name.IsExported() || fn.Recv != nil && !exportedReceiver(fn.Recv.List[0].Type) {
					continue
				}
				checked++
				if text := strings.Join(strings.Fields(fn.Doc.Text()), " "); !namesGoroutine(text) {
					t.Errorf("%s: the comment of %s does not say which goroutine may call it", file, fn.Name.Name)
				}
			}
		}
		if checked == 0 {
			t.Errorf("no exported function in %s", dir)
		}
	}
}

// namesGoroutine reports whether a comment says which goroutine may make the call.
func namesGoroutine(comment string) bool {
	for _, phrase := range []string{"Any goroutine", "Loop only.", "May block; not in a callback.", "May block; in a callback of its own loop it does not."} {
		if strings.Contains(comment, phrase) {
			return true
		}
	}
	return false
}

// exportedReceiver reports whether the type of a receiver is exported.
func exportedReceiver(typ ast.Expr) bool {
	switch typ := typ.(type) {
	case *ast.StarExpr:
		return exportedReceiver(typ.X)
	case *ast.IndexExpr: // a generic type
		return exportedReceiver(typ.X)
	case *ast.Ident:
		return typ.IsExported()
	}
	return false
}

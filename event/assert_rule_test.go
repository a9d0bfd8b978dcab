package event_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// Each method of event and msgqueue whose name ends in InLoop begins with the assertion that it runs on the loop.
func TestInLoopMethodsAssertIt(t *testing.T) {
	for _, dir := range []string{".", "../msgqueue"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		must(t, err)
		found := 0
		for _, file := range files {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			must(t, err)
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

package archtest

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

// A test that is skipped because of an error names the error. If it were skipped after any error, a fault that makes the call fail would not
// be noticed.
func TestASkipAfterAnErrorNamesTheError(t *testing.T) { obey(t, nil, skipsAfterAnyError) }

// skipsAfterAnyError finds branches that are taken for any error and that skip the test.
func skipsAfterAnyError(s *source) (found []finding) {
	if s.file == nil {
		return nil
	}
	check := func(body []ast.Stmt, conditions ...ast.Expr) {
		for _, condition := range conditions {
			if !isAnyError(condition) {
				continue
			}
			for _, statement := range body {
				if skips(statement) {
					found = append(found, s.at(statement.Pos(), "the test is skipped after any error: use errors.Is"))
				}
			}
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			check(n.Body.List, n.Cond)
		case *ast.CaseClause:
			check(n.Body, n.List...)
		}
		return true
	})
	return found
}

// isAnyError reports whether a condition holds for an error without regard to which one it is.
func isAnyError(condition ast.Expr) (is bool) {
	named := false
	ast.Inspect(condition, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			nothing, ok := n.Y.(*ast.Ident)
			is = is || n.Op == token.NEQ && ok && nothing.Name == "nil" && strings.HasPrefix(strings.ToLower(lastName(n.X)), "err")
		case *ast.SelectorExpr:
			named = named || lastName(n.X) == "errors" && (n.Sel.Name == "Is" || n.Sel.Name == "As" || n.Sel.Name == "AsType")
		}
		return true
	})
	return is && !named
}

// skips reports whether a statement calls Skip, Skipf or SkipNow.
func skips(s ast.Stmt) bool {
	e, ok := s.(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := e.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	_, isMethod := call.Fun.(*ast.SelectorExpr)
	return isMethod && strings.HasPrefix(lastName(call.Fun), "Skip")
}

func TestSkipsAfterAnyErrorFindsBranches(t *testing.T) {
	sample{"event/a_test.go", `package event

func TestA(t *testing.T) {
	if err != nil {
		t.Skip(err) // bad
	}
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil && errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil && short {
		t.Skipf("%v", err) // bad
	}
	if ok := f(); !ok {
		t.Skip("none")
	}
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case err != nil && full:
		t.Fatal(err)
	case err != nil:
		t.SkipNow() // bad
	}
}
`}.expect(t, skipsAfterAnyError)
}

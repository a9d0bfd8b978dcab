package archtest

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// assertion is the method that panics in race builds on another goroutine than the loop's.
const assertion = "assertInLoop"

// Each method of event and msgqueue whose name ends in InLoop begins with the assertion, which checks in race builds that it runs on the loop.
func TestMethodsOfTheLoopAssertThatTheyRunOnIt(t *testing.T) { obey(t, pending.loop, withoutAssertion) }

// withoutAssertion finds methods for the loop's goroutine that do not check it.
func withoutAssertion(s *source) (found []finding) {
	if !slices.Contains([]string{"event", "msgqueue"}, s.dir()) || s.isTest() {
		return nil
	}
	for _, f := range s.funcs() {
		if f.Recv == nil || f.Name.Name == assertion || !strings.HasSuffix(f.Name.Name, "InLoop") {
			continue
		}
		if f.Body == nil || len(f.Body.List) == 0 || !assertsLoop(f.Body.List[0], f.Recv) {
			found = append(found, s.at(f.Pos(), "%s does not begin with %s", f.Name.Name, assertion))
		}
	}
	return found
}

// assertsLoop reports whether s calls the assertion of a method's receiver, or of the loop in one of its fields.
func assertsLoop(s ast.Stmt, receiver *ast.FieldList) bool {
	expr, ok := s.(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := expr.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || method.Sel.Name != assertion || len(receiver.List[0].Names) == 0 {
		return false
	}
	on := method.X
	if field, ok := on.(*ast.SelectorExpr); ok {
		on = field.X
	}
	name, ok := on.(*ast.Ident)
	return ok && name.Name == receiver.List[0].Names[0].Name
}

// Each method of event and msgqueue that is called by a method for the loop's goroutine alone keeps its rule only if such methods exist.
func TestEventAndMsgqueueHaveMethodsOfTheLoop(t *testing.T) {
	count := map[string]int{}
	for _, s := range repository(t) {
		for _, f := range s.funcs() {
			if f.Recv != nil && strings.HasSuffix(f.Name.Name, "InLoop") && f.Name.Name != assertion {
				count[s.dir()]++
			}
		}
	}
	for _, dir := range []string{"event", "msgqueue"} {
		if count[dir] == 0 {
			t.Errorf("no method of %s has a name that ends in InLoop", dir)
		}
	}
}

func TestWithoutAssertionFindsMethods(t *testing.T) {
	text := `package event

func (l *Loop) assertInLoop() {}
func (l *Loop) aInLoop() { l.assertInLoop(); l.x = 1 }
func (e *Event) bInLoop() { e.loop.assertInLoop() }
func (l *Loop) cInLoop() {} // bad
func (l *Loop) dInLoop() { l.x = 1; l.assertInLoop() } // bad
func (l *Loop) eInLoop() { other.assertInLoop() } // bad
func (l *Loop) fInLoop() { defer l.assertInLoop() } // bad
func (l *Loop) notOnIt() {}
`
	sample{"event/a.go", text}.expect(t, withoutAssertion)
	sample{"server/a.go", strings.ReplaceAll(text, "bad", "")}.expect(t, withoutAssertion)
}

package archtest

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// Each way from another goroutine into the code of server that is for a loop only begins with the assertion, which checks the goroutine in race
// builds: functions that the loop calls, the begin of the work on a connection, and exported methods of Conn and Requests that are for the
// loop only. A function that goes from a Conn, or from an event, to the loopConn asserts too, or has a reason not to.
func TestEachEntryToCodeForTheLoopAsserts(t *testing.T) {
	var files []*source
	for _, s := range repository(t) {
		if s.dir() == "server" && !s.isTest() {
			files = append(files, s)
		}
	}
	obey(t, nil, entriesWithoutAssertion(files))
}

// loopPartUsers are the functions that may go from a Conn to its loopConn without the assertion.
var loopPartUsers = map[string]string{
	"Conn.descriptor":     "reads the number of the descriptor, which the event guards",
	"Conn.enqueue":        "puts the connection into the queue of its loop, or has it served by lateWork",
	"input.readNow":       "reads the descriptor under mu for the request in progress",
	"Conn.writeLarge":     "writes to the descriptor under mu while the loop works on the connection, whose fields it does not use",
	"replyState.writeNow": "the leader calls it between two turns",
	"Server.notifyRoom":   "makes the loop use it, by a task",
	"jobQueue.add":        "is called by endTurn, and by the leader between two turns",
	"leader.enqueue":      "keeps it for serveFinished",
}

// registers are the methods of event.Loop that have the loop call a function.
var registers = []string{"InitEvent", "NewEvent", "AfterFunc", "Post", "OnPrepare", "OnCheck", "OnTurnEnd", "OnClose"}

// entriesWithoutAssertion returns a check of the files of server.
func entriesWithoutAssertion(files []*source) func(*source) []finding {
	entries := entryNames(files)
	return func(s *source) (found []finding) {
		if !slices.Contains(files, s) {
			return nil
		}
		for _, f := range s.funcs() {
			name := declaredName(f)
			switch {
			case name == "loop."+assertion || f.Body == nil:
			case (entries[name] || entries["."+f.Name.Name]) && !beginsWithAssertion(f.Body):
				found = append(found, s.at(f.Pos(), "%s is called by the loop and does not begin with %s", name, assertion))
			case isForLoopOnly(f) && !beginsWithAssertion(f.Body):
				found = append(found, s.at(f.Pos(), "%s is for the loop only and does not begin with %s", name, assertion))
			case goesToLoopPart(f) && !beginsWithAssertion(f.Body) && loopPartUsers[name] == "":
				found = append(found, s.at(f.Pos(), "%s uses a loopConn, does not begin with %s, and is not in the list", name, assertion))
			}
			for _, callback := range callbacks(f) {
				if lit, ok := callback.(*ast.FuncLit); ok && !beginsWithAssertion(lit.Body) {
					found = append(found, s.at(lit.Pos(), "a function that the loop calls does not begin with %s", assertion))
				}
			}
		}
		return found
	}
}

// entryNames returns the functions that begin with the assertion because the loop calls them, or that begin the work on a connection, by
// their names and the types of their receivers. Where the type is not known the name alone follows the dot.
func entryNames(files []*source) map[string]bool {
	names := map[string]bool{"loop.setCurrent": true}
	fields := map[string]bool{} // in which functions are stored that the loop calls
	for _, s := range files {
		for _, f := range s.funcs() {
			types := typesIn(f)
			for _, callback := range callbacks(f) {
				if m, ok := callback.(*ast.SelectorExpr); ok {
					names[types[lastName(m.X)]+"."+m.Sel.Name], fields[m.Sel.Name] = true, true
				}
			}
		}
	}
	for _, s := range files {
		for _, f := range s.funcs() {
			types := typesIn(f)
			ast.Inspect(f, func(n ast.Node) bool {
				if a, ok := n.(*ast.AssignStmt); ok && len(a.Lhs) == 1 && fields[lastName(a.Lhs[0])] {
					if m, ok := a.Rhs[0].(*ast.SelectorExpr); ok {
						names[types[lastName(m.X)]+"."+m.Sel.Name] = true
					}
				}
				return true
			})
		}
	}
	return names
}

// typesIn returns the types of the receiver of f, of its parameters, and of variables that are set to a pointer to a literal.
func typesIn(f *ast.FuncDecl) map[string]string {
	types := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, name := range n.Names {
				types[name.Name] = typeName(n.Type)
			}
		case *ast.AssignStmt:
			for i, v := range n.Rhs {
				if p, ok := v.(*ast.UnaryExpr); ok {
					if lit, ok := p.X.(*ast.CompositeLit); ok {
						types[lastName(n.Lhs[i])] = typeName(lit.Type)
					}
				}
			}
		}
		return true
	})
	return types
}

// typeName returns the name of the type that t is or points to, or "".
func typeName(t ast.Expr) string {
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	return lastName(t)
}

// callbacks returns the functions that f gives to a loop or to one of its queues.
func callbacks(f *ast.FuncDecl) (all []ast.Expr) {
	variables := map[string]ast.Expr{} // functions that stand in a variable
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if lit, ok := n.Rhs[0].(*ast.FuncLit); ok && len(n.Lhs) == 1 {
				variables[lastName(n.Lhs[0])] = lit
			}
		case *ast.CallExpr:
			if !isRegistration(n.Fun) && !slices.ContainsFunc(n.Args, isRegistration) {
				return true
			}
			for _, arg := range n.Args {
				if v := variables[lastName(arg)]; v != nil {
					arg = v
				}
				if !isRegistration(arg) {
					all = append(all, arg)
				}
			}
		}
		return true
	})
	return all
}

// isRegistration reports whether e is a method of an event.Loop that has it call a function, or msgqueue.New.
func isRegistration(e ast.Expr) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	on := lastName(s.X)
	return on == "ev" && slices.Contains(registers, s.Sel.Name) || on == "msgqueue" && s.Sel.Name == "New"
}

// isForLoopOnly reports whether f is an exported method of Conn or Requests whose comment says that only the loop may call it.
func isForLoopOnly(f *ast.FuncDecl) bool {
	receiver, _, _ := strings.Cut(declaredName(f), ".")
	if receiver != "Conn" && receiver != "Requests" || !f.Name.IsExported() {
		return false
	}
	return strings.HasSuffix(strings.Join(strings.Fields(f.Doc.Text()), " "), "Loop only.")
}

// goesToLoopPart reports whether f calls loopPart or connOf, the only ways to a loopConn.
func goesToLoopPart(f *ast.FuncDecl) (goes bool) {
	ast.Inspect(f.Body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			name := lastName(call.Fun)
			goes = goes || name == "loopPart" || name == "connOf"
		}
		return !goes
	})
	return goes
}

// beginsWithAssertion reports whether the first statement of a function is the assertion.
func beginsWithAssertion(body *ast.BlockStmt) bool {
	if len(body.List) == 0 {
		return false
	}
	s, ok := body.List[0].(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := s.X.(*ast.CallExpr)
	return ok && lastName(call.Fun) == assertion
}

// declaredName returns the name of a function, and that of a method behind its receiver's type and a dot.
func declaredName(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	return typeName(f.Recv.List[0].Type) + "." + f.Name.Name
}

// lastName returns the name that e is, or that it ends with, or "".
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// The entries in loopPartUsers are functions that use the loopConn.
func TestEachReasonNotToAssertIsUsed(t *testing.T) {
	used := map[string]bool{}
	for _, s := range repository(t) {
		if s.dir() != "server" || s.isTest() {
			continue
		}
		for _, f := range s.funcs() {
			if goesToLoopPart(f) && !beginsWithAssertion(f.Body) {
				used[declaredName(f)] = true
			}
		}
	}
	for name := range loopPartUsers {
		if !used[name] {
			t.Errorf("%s asserts, or does not use a loopConn: remove it from the list", name)
		}
	}
}

func TestEntriesWithoutAssertionFindsFunctions(t *testing.T) {
	text := `package server

func (l *loop) make(ev *event.Loop) {
	l.callback = l.ready
	r := &refusal{}
	l.ev.InitEvent(&l.e, 1, 0, r.read)
	l.ev.InitEvent(&l.e, 1, 0, l.callback)
	msgqueue.New(ev, l.serve, nil)
	watch(ev.OnClose, l.closed)
	clock.AfterFunc(1, l.onClock)
	l.ev.AfterFunc(1, func() { l.x++ }) // bad
	l.ev.AfterFunc(1, func() { l.assertInLoop("f") })
	fn := func() { l.x++ } // bad
	l.ev.Post(fn)
}
func (l *loop) ready() { l.x++ } // bad
func (l *loop) serve() { l.assertInLoop("serve"); l.x++ }
func (c *loopConn) serve() { c.x++ }
func (l *loop) closed() { l.x++; l.assertInLoop("closed") } // bad
func (l *loop) onClock() {}
func (r *refusal) read() {} // bad
func (k *packetSocket) read() {}
func (l *loop) setCurrent(c *loopConn) { l.current = c } // bad
func (c *Conn) use() { c.loopPart().x++ } // bad
func (c *Conn) descriptor() { c.loopPart().x++ }
func find(e *event.Event) { connOf(e).x++ } // bad

// A is a method. Loop
// only.
func (c *Conn) A() {} // bad

// B is a method. Loop only.
func (r Requests) B() { r.c.loop.assertInLoop("B") }

// C is a method. Any goroutine.
func (c *Conn) C() {}

// Open is called by the loop. Loop only.
func (d *Dispatcher) Open() {}
`
	sample{"server/a.go", text}.expect(t, func(s *source) []finding { return entriesWithoutAssertion([]*source{s})(s) })
}

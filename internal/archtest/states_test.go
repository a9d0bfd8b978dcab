package archtest

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// A type whose constants are numbered by iota and that has a String method has as many texts as constants, each different and none empty: so no
// value lacks a text or has another's, and none makes String panic. A type whose constants are bits of a set may have a text for each set instead.
func TestEachConstantOfAStateHasAText(t *testing.T) {
	checked := 0
	packages := map[string][]*source{}
	for _, s := range repository(t) {
		packages[s.dir()] = append(packages[s.dir()], s)
	}
	obey(t, pending.texts, func(s *source) []finding {
		found, n := miscounted(s, packages[s.dir()])
		checked += n
		return found
	})
	if checked < 10 {
		t.Errorf("only %d types with texts were found", checked)
	}
}

// miscounted finds String methods of a file that have another number of texts than their types have constants in the package. It returns the number
// of methods that it has checked.
func miscounted(s *source, pkg []*source) (found []finding, checked int) {
	for _, f := range s.funcs() {
		if f.Name.Name != "String" || f.Recv == nil || f.Body == nil || s.isTest() {
			continue
		}
		constants, bits := enumerated(pkg, receiver(f))
		if len(constants) == 0 || forwards(f) {
			continue
		}
		checked++
		want := len(constants)
		texts, ok := textsIn(f.Body, pkg)
		if bits && len(texts) == 1<<want {
			want = len(texts)
		}
		switch {
		case !ok:
			found = append(found, s.at(f.Pos(), "the texts of %s can be counted neither in an array nor in a switch", receiver(f)))
		case len(texts) != want:
			found = append(found, s.at(f.Pos(), "%s has %d texts for %d constants", receiver(f), len(texts), len(constants)))
		default:
			slices.Sort(texts)
			if slices.Contains(texts, `""`) || len(slices.Compact(texts)) != want {
				found = append(found, s.at(f.Pos(), "two constants of %s have the same text, or one has none", receiver(f)))
			}
		}
	}
	return found, checked
}

// enumerated returns the constants of a type that are numbered by iota, without those that only count them, whose names begin with num. It reports
// whether the constants are bits: 1 << iota.
func enumerated(pkg []*source, typ string) (all []string, bits bool) {
	for _, s := range pkg {
		if s.file == nil {
			continue
		}
		for _, d := range s.file.Decls {
			if decl, ok := d.(*ast.GenDecl); ok && decl.Tok == token.CONST {
				constants, shifted := numbered(decl, typ)
				all, bits = append(all, constants...), bits || shifted
			}
		}
	}
	return all, bits
}

// numbered returns the constants of a type in a group that are numbered by iota, and whether they are bits.
func numbered(decl *ast.GenDecl, typ string) (all []string, bits bool) {
	inside := false
	for _, d := range decl.Specs {
		spec, ok := d.(*ast.ValueSpec)
		if !ok {
			continue
		}
		if len(spec.Values) > 0 {
			name, typed := spec.Type.(*ast.Ident)
			inside = typed && name.Name == typ && usesIota(spec.Values[0])
			shift, ok := spec.Values[0].(*ast.BinaryExpr)
			bits = bits || inside && ok && shift.Op == token.SHL
		}
		if !inside {
			continue
		}
		for _, name := range spec.Names {
			if !strings.HasPrefix(name.Name, "num") {
				all = append(all, name.Name)
			}
		}
	}
	return all, bits
}

func usesIota(e ast.Expr) (uses bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		uses = uses || ok && id.Name == "iota"
		return true
	})
	return uses
}

// forwards reports whether a String method only returns what another one returns.
func forwards(f *ast.FuncDecl) bool {
	if len(f.Body.List) != 1 {
		return false
	}
	ret, ok := f.Body.List[0].(*ast.ReturnStmt)
	if !ok || len(ret.Results) != 1 {
		return false
	}
	call, ok := ret.Results[0].(*ast.CallExpr)
	if !ok {
		return false
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	return ok && method.Sel.Name == "String"
}

// textsIn returns the texts of a String method: of an array in it, of an array or a map of the package that it names, or of the cases of a switch.
func textsIn(body ast.Node, pkg []*source) (texts []string, ok bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			texts = append(texts, elements(n)...)
			return false
		case *ast.Ident:
			if lit := composite(pkg, n.Name); lit != nil {
				texts = append(texts, elements(lit)...)
			}
		case *ast.CaseClause:
			for range n.List {
				texts = append(texts, firstText(n))
			}
			return false
		}
		return true
	})
	return texts, len(texts) > 0
}

// elements returns the first text of each element of an array or a map.
func elements(lit *ast.CompositeLit) (texts []string) {
	for _, e := range lit.Elts {
		if pair, ok := e.(*ast.KeyValueExpr); ok {
			e = pair.Value
		}
		if text := firstText(e); text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

// firstText returns the first string in a node, quoted as in the source, or "".
func firstText(n ast.Node) (text string) {
	ast.Inspect(n, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && text == "" {
			text = lit.Value
		}
		return text == ""
	})
	return text
}

// composite returns the value of a variable of the package that is an array, a slice or a map, or nil.
func composite(pkg []*source, name string) *ast.CompositeLit {
	for _, s := range pkg {
		if s.file == nil || s.isTest() {
			continue
		}
		for _, d := range s.file.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.VAR {
				continue
			}
			for _, d := range decl.Specs {
				spec, ok := d.(*ast.ValueSpec)
				if !ok || len(spec.Values) != 1 || spec.Names[0].Name != name {
					continue
				}
				if lit, ok := spec.Values[0].(*ast.CompositeLit); ok {
					return lit
				}
			}
		}
	}
	return nil
}

func TestMiscountedCountsTheTextsOfSets(t *testing.T) {
	for texts, mark := range map[string]string{`"one", "two"`: "", `"none", "one", "two", "both"`: "", `"one", "two", "both"`: " // bad", `"none", "one", "two", "two"`: " // bad"} {
		sample{"a.go", "package a\n\ntype set uint8\n\nconst (\n\tone set = 1 << iota\n\ttwo\n)\n\nfunc (s set) String() string { return [...]string{" + texts +
			"}[s] }" + mark + "\n"}.expect(t, func(s *source) []finding { found, _ := miscounted(s, []*source{s}); return found })
	}
}

func TestMiscountedFindsMissingTexts(t *testing.T) {
	const constants = "package a\n\ntype state uint8\n\nconst (\n\tone state = iota\n\ttwo // the second\n\tthree\n\tnumStates\n)\n\nconst other = 1\n\n"
	for body, bad := range map[string]bool{
		`return [...]string{"one", "two", "three"}[s]`:                                              false,
		`return [...]string{"one", "two"}[s]`:                                                       true,
		`return [...]string{"one", "two", "three", "four"}[s]`:                                      true,
		`return [...]string{"one", "two", "two"}[s]`:                                                true,
		`return [...]string{"one", "", "three"}[s]`:                                                 true,
		`return [...]string{one: "one", three: "three"}[s]`:                                         true,
		`if s > 2 { return "?" }; return texts[s]`:                                                  false,
		`return few[s].name`:                                                                        true,
		`switch s { case one: return "1"; case two: return "2" }; panic(s)`:                         true,
		`switch s { case one: return "1"; case two: return "2"; case three: return "3" }; panic(s)`: false,
		`return fmt.Sprint(int(s))`:                                                                 true,
		`return poller(s).String()`:                                                                 false,
	} {
		text := constants + "var texts = [...]string{\"1\", \"2\", \"3\"}\n\nvar few = [...]struct{ name string }{{\"1\"}, {\"2\"}}\n\nfunc (s state) String() string { " + body + " }"
		if bad {
			text += " // bad"
		}
		sample{"a.go", text + "\n"}.expect(t, func(s *source) []finding { found, _ := miscounted(s, []*source{s}); return found })
	}
}
